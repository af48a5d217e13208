# SPDX-License-Identifier: Apache-2.0
"""Hostile input for parsers: valid packets cut, changed and lengthened, and plain noise."""

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = 300  # per property, at scale 1


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """A valid packet with up to four changes."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("set", "flip", "cut", "insert", "append")))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if kind == "set" and data:
            data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))
        elif kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        else:
            data += draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


def hostile(valid: st.SearchStrategy[bytes], prefix: bytes = b"") -> st.SearchStrategy[bytes]:
    """Valid and mutated packets, noise, and noise behind a prefix that gets past the first check."""
    noise = st.binary(max_size=120)
    return st.one_of(valid, mutated(valid), mutated(valid), noise, noise.map(lambda data: prefix + data))


def outcome(parse: Callable[[bytes], object], data: bytes) -> object:
    """What a parser makes of it: its result, or that it refuses."""
    try:
        return parse(data)
    except ValueError:
        return ValueError


def examples(count: int) -> settings:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )
