# SPDX-License-Identifier: Apache-2.0
"""Counts of hypothesis' examples follow --scale like every other count."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.mutations import EXAMPLES, examples

Check = Callable[..., None]


@pytest.fixture
def for_all(scaled: Callable[[int], int]) -> Callable[..., None]:
    """`for_all(check, strategy, ...)`: check must hold for every example."""

    def run(check: Check, *strategies: st.SearchStrategy[object]) -> None:
        # given() wants named parameters; a tuple serves any check.
        @examples(scaled(EXAMPLES))
        @given(st.tuples(*strategies))
        def holds(values: tuple[object, ...]) -> None:
            check(*values)

        holds()

    return run
