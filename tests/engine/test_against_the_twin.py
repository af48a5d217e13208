# SPDX-License-Identifier: Apache-2.0
"""Random packets of every codec through the router and through the plain-Python twin: equal verdicts, equal bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import pytest

from tests.engine.random_streams import KINDS
from tests.engine.twin_run import play_many

PACKETS = 2_500


@pytest.mark.parametrize("name", KINDS)
def test_equal_verdicts_and_bytes(name: str, scaled: Callable[[int], int]) -> None:
    seed = random.SystemRandom().randrange(1 << 24)
    result = play_many(KINDS[name], count(seed), scaled(PACKETS))
    assert result.forwarded > result.packets // 20, f"hardly anything was forwarded, seed {seed}"
