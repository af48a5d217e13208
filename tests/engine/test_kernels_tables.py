# SPDX-License-Identifier: Apache-2.0
"""The packet history and the address map against plain dictionaries."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.engine.probes import AddressMapProbe, HistoryProbe

PACKETS, ARENA = 16, 1_024
LARGEST = 200

Path = tuple[bytes, int, bytes]


def test_history_gives_back_what_was_stored_or_nothing(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(80), deadline=None)
    @given(st.integers(0, 1 << 32), st.integers(1, 200), st.sampled_from((0, 3, 40)))
    def compare(seed: int, packets: int, reach: int) -> None:
        choose = random.Random(seed)
        history = HistoryProbe(PACKETS, ARENA)
        stored: dict[int, bytes] = {}
        order: list[int] = []
        newest = -1
        for number in sorted(range(packets), key=lambda at: at + choose.random() * reach):
            sequence = 65_536 + number
            wanted = sequence not in stored and sequence > newest - PACKETS
            if sequence in stored and sequence <= newest - PACKETS:
                wanted = False
            assert history.accepts(sequence) == wanted
            if not wanted:
                continue
            stored[sequence] = choose.randbytes(choose.randrange(1, LARGEST))
            history.add(sequence, stored[sequence])
            order.append(sequence)
            newest = max(newest, sequence)
            assert not history.accepts(sequence), "it is there now"
            check(history, stored, order, newest)

    def check(history: HistoryProbe, stored: dict[int, bytes], order: list[int], newest: int) -> None:
        behind = 0
        for sequence in reversed(order):
            found = history.get(sequence)
            assert found in (None, stored[sequence])
            # One packet's room at most is left empty each time the arena is gone through.
            if behind + len(stored[sequence]) + LARGEST <= ARENA and sequence > newest - PACKETS:
                assert found is not None, "recent packets are there"
            behind += len(stored[sequence])
            if behind > ARENA:
                assert history.get(sequence) is None or sequence == order[-1]
        assert history.get(newest + 1) is None
        assert history.get(-1) is None

    compare()


def test_history_of_one_slot_holds_the_newest_of_a_slot() -> None:
    history = HistoryProbe(PACKETS, ARENA)
    history.add(100, b"old")
    history.add(100 + PACKETS, b"new")
    assert history.get(100) is None
    assert history.get(100 + PACKETS) == b"new"
    assert not history.accepts(100)


def test_address_map_is_a_dictionary(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(40), deadline=None)
    @given(st.integers(0, 1 << 32), st.integers(1, 1_500), st.sampled_from((5, 60, 400)))
    def compare(seed: int, steps: int, universe: int) -> None:
        choose = random.Random(seed)
        addresses = AddressMapProbe(choose.getrandbits(64), choose.getrandbits(64))
        paths: list[Path] = [
            (choose.randbytes(16), choose.randrange(65_536), choose.choice((bytes(16), b"l" * 16)))
            for _ in range(universe)
        ]
        wanted: dict[Path, int] = {}
        for _ in range(steps):
            path, transport = choose.choice(paths), choose.randrange(1, 9)
            if choose.random() < 0.5:
                addresses.put(path, transport)
                wanted[path] = transport
            else:
                addresses.remove(path, transport)
                if wanted.get(path) == transport:
                    del wanted[path]
            probe = choose.choice(paths)
            assert addresses.find(probe) == wanted.get(probe, 0)
        assert all(addresses.find(path) == wanted.get(path, 0) for path in paths)

    compare()


def test_address_map_tells_ports_and_local_addresses_apart() -> None:
    addresses = AddressMapProbe(1, 2)
    paths = [(bytes(15) + b"\x01", port, local) for port in (1, 2, 256) for local in (bytes(16), bytes(15) + b"\x02")]
    for number, path in enumerate(paths, 1):
        addresses.put(path, number)
    assert [addresses.find(path) for path in paths] == list(range(1, len(paths) + 1))
