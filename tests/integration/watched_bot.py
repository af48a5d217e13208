# SPDX-License-Identifier: Apache-2.0
"""A bot whose every slot is watched by a stream checker, and which loses packets on purpose on both ways.

The checker sees what the server sent: what is lost on the way down is lost behind it. What is lost on the way up may
leave a hole in a stream, and the checker is told how many there can be.
"""

from __future__ import annotations

import random
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sfu.client.messages import Event, SlotBound, SubscriptionPaused
from sfu.load.connection import ConnectionStatistics
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.receiving import LightSlot, PacketObserver
from sfu.transport.certificate import Certificate
from tests.load.watching import describe
from tests.simulation.stream_checker import StreamChecker
from tests.simulation.stream_rules import Report
from tests.simulation.tags import read_tag

CSRC_AT = 12  # bytes of the fixed header before it
SSRC_AT = 8
SEQUENCE_AT = 2
TIMESTAMP_AT = 4
# Between a switch to a source and the first packet from it here, so many more of it may have been lost.
LOST_AROUND_A_SWITCH = 4
# A machine that is busy may let a bot send a frame so late; a wrong clock goes wrong for longer.
STALLS_US = 5_000_000
# Packets that are shown with a violation.
CONTEXT = 16
UDP_SOCKETS = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
# An event and the packets that it tells of come by different ways.
EVENT_BEFORE_PACKETS_S = 1.0


@dataclass(slots=True)
class Uplinks:
    """What publishers lost on purpose on the way to the server, by the numbers of their publications."""

    statistics: dict[int, ConnectionStatistics] = field(default_factory=dict)

    def lost(self, number: int) -> int:
        found = self.statistics.get(number)
        return 0 if found is None else found.impaired


class SlotWatch:
    """One slot's checker, told in time of what was lost on the way up."""

    def __init__(self, slot: LightSlot, uplinks: Uplinks) -> None:
        self.checker = StreamChecker(replace(describe(slot), inbound_impaired=True, timestamp_tolerance_us=STALLS_US))
        self.shown: set[tuple[int, int]] = set()
        """CSRC and timestamp of each packet."""
        self.contexts: list[str] = []
        """The packets around each violation."""
        self._recent: deque[str] = deque(maxlen=CONTEXT)
        self._uplinks = uplinks
        self._credited: dict[int, int] = {}
        self._source: tuple[int, int] | None = None
        self._last_us = 0

    def packet(self, data: bytes, arrived_us: int) -> None:
        number = struct.unpack_from("!I", data, CSRC_AT)[0] if data[0] & 0x0F else 0
        self.shown.add((number, struct.unpack_from("!I", data, TIMESTAMP_AT)[0]))
        lost = self._uplinks.lost(number)
        self.checker.lost_upstream(lost - self._credited.get(number, max(0, lost - LOST_AROUND_A_SWITCH)))
        self._credited[number] = lost
        tag = read_tag(data)
        source = (number, tag.layer if tag is not None else 0)
        if source != self._source:
            self.checker.lost_upstream(1)  # a switch may cut a frame off, which one missing number tells
            self._source = source
        # Two clock readings lie between the kernel's time and ours: they may differ by a few microseconds.
        self._last_us = max(self._last_us, arrived_us)
        found = len(self.checker.report.violations)
        self.checker.on_packet(data, self._last_us)
        sequence, timestamp, ssrc = struct.unpack_from("!HII", data, SEQUENCE_AT)
        self._recent.append(f"{arrived_us} us: SSRC {ssrc:#x} #{sequence} {timestamp}, {len(data)} bytes, {tag}")
        if len(self.checker.report.violations) > found:
            self.contexts.append("\n".join(self._recent))

    def finish(self) -> Report:
        return self.checker.finish(self._last_us)


@dataclass(frozen=True)
class WatchedSpec(LightSpec):
    """`impairment` loses what the bot sends; what is lost on the way to it has to be seen by the checkers first."""

    uplinks: Uplinks = field(default_factory=Uplinks)
    downlink_loss: float = 0.0


class WatchedBot(LightPeer):
    """Joins with a `WatchedSpec`."""

    def __init__(
        self,
        spec: LightSpec,
        certificate: Certificate,
        on_packet: PacketObserver,
        on_event: Callable[[Event], None],
        on_lost: Callable[[str], None],
    ) -> None:
        super().__init__(spec, certificate, on_packet, on_event, on_lost)
        assert isinstance(spec, WatchedSpec)
        self._uplinks = spec.uplinks
        self._downlink_loss = spec.downlink_loss
        self.watches: dict[str, SlotWatch] = {}
        """By mid."""
        self.paused: set[str] = set()
        """Publications of which the server sends us nothing for now, because the link or the server has no room."""
        self._told: list[tuple[float, SlotBound]] = []
        self._downlink = random.Random(spec.seed)

    def overrun(self) -> int:
        """Packets that the kernel had no room for, because this process was too slow: the checkers missed them."""
        port = f":{self.connection.local_address[1]:04X}"
        lines = [line.split() for path in UDP_SOCKETS if path.exists() for line in path.read_text().splitlines()[1:]]
        return sum(int(fields[-1]) for fields in lines if fields[1].endswith(port))

    def finish(self) -> dict[str, Report]:
        """The verdict on each slot; also that what was told of the slots is what was seen in them."""
        until_s = time.monotonic() - EVENT_BEFORE_PACKETS_S
        for at_s, told in self._told:
            if told.rtp_timestamp is not None and at_s < until_s:
                assert (told.number, told.rtp_timestamp) in self.watches[told.mid].shown, told
        return {mid: watch.finish() for mid, watch in self.watches.items()}

    def _on_rtp(self, data: bytes, arrived_us: int) -> None:
        slot = self._streams.get(struct.unpack_from("!I", data, SSRC_AT)[0])
        if slot is not None:
            if slot.mid not in self.watches:
                self.watches[slot.mid] = SlotWatch(slot, self._uplinks)
            self.watches[slot.mid].packet(data, arrived_us)
        if self._downlink.random() >= self._downlink_loss:
            super()._on_rtp(data, arrived_us)

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        if isinstance(event, SlotBound):
            self._told.append((time.monotonic(), event))
        elif isinstance(event, SubscriptionPaused):
            (self.paused.add if event.paused else self.paused.discard)(event.publication)
