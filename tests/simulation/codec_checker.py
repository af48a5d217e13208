# SPDX-License-Identifier: Apache-2.0
"""What the stream checker asks of a codec's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tests.simulation.stream_rules import Rule

Breach = tuple[Rule, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What any codec's packet says about frames."""

    may_start: bool
    """A frame can begin with this packet."""
    must_start: bool
    """This packet can only begin a frame."""


class CodecChecker(Protocol):
    """Sees packets in order of sequence numbers; `parse` comes before `open` and `add` of the same packet."""

    keyframe: bool
    """The open frame is a keyframe, as far as seen."""

    def parse(self, payload: bytes) -> tuple[Facts, list[Breach]]:
        """Look at a packet."""

    def lose(self, packets: int) -> None:
        """Packets are missing before the next one."""

    def open(self, *, restart: bool, lost: int) -> list[Breach]:
        """The packet last parsed begins a frame; `lost` packets are missing directly before it."""

    def add(self, *, first: bool) -> list[Breach]:
        """The packet last parsed belongs to the open frame."""

    def close(self, *, damaged: bool) -> list[Breach]:
        """The open frame ended; damaged = packets of it are missing."""


class OpaqueChecker:
    """A codec without rules of its own."""

    def __init__(self) -> None:
        self.keyframe = False

    def parse(self, payload: bytes) -> tuple[Facts, list[Breach]]:
        """Any packet may begin a frame."""
        return Facts(True, False), []

    def lose(self, packets: int) -> None:
        """Nothing to note."""

    def open(self, *, restart: bool, lost: int) -> list[Breach]:
        """Nothing to judge."""
        return []

    def add(self, *, first: bool) -> list[Breach]:
        """Nothing to judge."""
        return []

    def close(self, *, damaged: bool) -> list[Breach]:
        """Nothing to judge."""
        return []
