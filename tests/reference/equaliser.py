# SPDX-License-Identifier: Apache-2.0
"""Twin of sfu/engine/equaliser: how much padding each packet of one job gets, for a receiver that gets them all."""

from __future__ import annotations

from collections.abc import Sequence

LIMIT = 16
DATAGRAM = 1200
TAG = 16


def runs(packets: Sequence[tuple[int, int]]) -> list[list[int]]:
    """(frame, size as it came) of one layer's packets → indices of those that shall be equal."""
    found: list[list[int]] = []
    for index, (frame, size) in enumerate(packets):
        if found:
            run = found[-1]
            sizes = [packets[at][1] for at in run] + [size]
            if packets[run[0]][0] == frame and max(sizes) - min(sizes) <= LIMIT:
                run.append(index)
                continue
        found.append([index])
    return found


def padding(packets: Sequence[tuple[int, int]], sent: Sequence[int]) -> list[int]:
    """The padding of each packet; `sent` are the sizes with which they would leave without it."""
    wanted = [0] * len(packets)
    size_of_run = 0
    for run in runs(packets):
        for place, index in enumerate(run[:-1]):
            size = sent[index]
            if not 0 <= size_of_run - size <= LIMIT:
                longest = max(packets[at][1] for at in run[place:])
                size_of_run = min(size + longest - packets[index][1], DATAGRAM - TAG)
            wanted[index] = max(0, size_of_run - size)
    return wanted
