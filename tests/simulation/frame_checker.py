# SPDX-License-Identifier: Apache-2.0
"""The stream checker's rules in order of sequence numbers: binds, frames, timestamps; a codec's own are asked of it."""

from __future__ import annotations

from collections import deque

from tests.simulation.codec_checker import Breach, CodecChecker, OpaqueChecker
from tests.simulation.h264_checker import H264Checker
from tests.simulation.origin_checker import OriginChecker
from tests.simulation.rtp_packets import RtpPacket, extend
from tests.simulation.stream_rules import FrameGap, PayloadFormat, Report, Rule, SlotDescription
from tests.simulation.tags import read_tag
from tests.simulation.vp8_checker import Vp8Checker

HALF_TIMESTAMP = 1 << 31


def codec_checker(payload_format: PayloadFormat) -> CodecChecker:
    """The rules of that codec."""
    name = payload_format.codec.lower()
    if name == "vp8":
        return Vp8Checker()
    if name == "h264":
        return H264Checker(payload_format.packetization_mode)
    return OpaqueChecker()


class FrameChecker:
    """Judges one slot's media packets in order of their sequence numbers."""

    def __init__(self, slot: SlotDescription, report: Report) -> None:
        self._slot = slot
        self._report = report
        self._origin = OriginChecker(report)
        self._codec: CodecChecker = OpaqueChecker()
        self._payload_type = -1
        self._binds: deque[int] = deque()
        self._binds_announced = False
        self._csrc: int | None = None
        self._restart = True
        self._open = False
        self._damaged = False
        self._lost = 0
        self._marked = False
        self._lost_unmarked = 0
        self._timestamp: int | None = None
        self._extended_timestamp = 0
        self._drift_us: tuple[float, float] | None = None
        self._last_frame_us: int | None = None
        self._at_us = 0
        self._sequence = 0

    def expect_bind(self, csrc: int) -> None:
        """From now on that CSRC may come, and those announced before it no more once it has come."""
        self._binds_announced = True
        self._binds.append(csrc)

    def expect_restart(self) -> None:
        """The next frame must be a keyframe."""
        self._restart = True

    def expect_pause(self) -> None:
        """Nothing is forwarded for now: the pause until the next frame is no gap."""
        self._last_frame_us = None

    def finish(self, now_us: int) -> None:
        """The stream was watched until now."""
        if self._last_frame_us is not None:
            self._measure_gap(now_us)
        self._last_frame_us = None

    def lose(self) -> None:
        """The next number in order was lost on the way in."""
        self._lost += 1
        self._damaged = self._damaged or self._open
        self._codec.lose(1)
        self._origin.lose(1)

    def packet(self, packet: RtpPacket, at_us: int, *, late: bool) -> None:
        """The next packet in order."""
        self._at_us, self._sequence = at_us, packet.sequence
        payload_format = self._slot.payloads.get(packet.payload_type)
        if payload_format is None:
            return
        if not packet.payload and packet.padding:
            self._padding(packet, late=late)
            return
        csrc = packet.csrcs[0] if packet.csrcs else 0
        if payload_format.is_audio:
            self._audio(packet, csrc, payload_format, late=late)
        else:
            self._video(packet, csrc, payload_format, late=late)
        self._lost = 0

    def _breach(self, rule: Rule, detail: str) -> None:
        self._report.add(rule, self._at_us, self._sequence, detail)

    def _breaches(self, breaches: list[Breach]) -> None:
        for rule, detail in breaches:
            self._breach(rule, detail)

    def _padding(self, packet: RtpPacket, *, late: bool) -> None:
        self._report.padding_packets += 1
        if self._open and not self._lost:
            self._breach(Rule.PADDING_IN_FRAME, f"timestamp {packet.timestamp}")
        elif late:
            # In the place of a packet that came when what is behind it was sent, and was not for this receiver: to the
            # codec it is one that was lost.
            self.lose()
        elif self._timestamp is not None and packet.timestamp != self._timestamp and not self._was_last(packet):
            self._breach(Rule.PADDING_TIMESTAMP, f"{packet.timestamp}, last frame {self._timestamp}")

    def _was_last(self, padding: RtpPacket) -> bool:
        """Its frame may have been the last one when it was sent: a hole behind that was filled afterwards."""
        timestamp = self._timestamp or 0
        return self._slot.inbound_impaired and (timestamp - padding.timestamp) & 0xFFFFFFFF < HALF_TIMESTAMP

    def _video(self, packet: RtpPacket, csrc: int, payload_format: PayloadFormat, *, late: bool) -> None:
        continues = self._open and packet.timestamp == self._timestamp
        if packet.payload_type != self._payload_type:
            if continues:
                self._breach(Rule.PAYLOAD_TYPE_IN_FRAME, f"{self._payload_type}, then {packet.payload_type}")
                return
            if self._open:
                self._leave_unfinished(f"codec changes to {payload_format.codec}")
            self._codec = codec_checker(payload_format)
            self._payload_type = packet.payload_type
            self._restart = True
        facts, breaches = self._codec.parse(packet.payload)
        self._breaches(breaches)
        if self._open and not continues:
            continues = self._changed_timestamp(packet, may_start=facts.may_start)
        elif not self._open and packet.timestamp == self._timestamp and not facts.must_start:
            self._breach(Rule.MARKER_EARLY, f"timestamp {packet.timestamp}")
            self._timestamp = None
        if not continues:
            self._open_frame(packet, csrc, payload_format, surely_whole=facts.must_start, late=late)
        elif csrc != self._csrc:
            self._breach(Rule.CSRC_IN_FRAME, f"{self._csrc}, then {csrc:#x}")
        self._breaches(self._codec.add(first=not continues))
        self._lost_unmarked += self._lost
        tag = read_tag(packet.payload)
        if tag is not None:
            self._breaches(self._origin.packet(tag, csrc, first=not self._marked, lost=self._lost_unmarked))
            self._marked, self._lost_unmarked = True, 0
        if packet.marker:
            self._close_frame()

    def _changed_timestamp(self, packet: RtpPacket, *, may_start: bool) -> bool:
        """A frame is open and has another timestamp; whether the packet is to be taken as its continuation."""
        if not self._lost and not may_start:
            self._breach(Rule.TIMESTAMP_IN_FRAME, f"{self._timestamp}, then {packet.timestamp}")
            return True
        self._leave_unfinished(f"timestamp {self._timestamp}, next frame {packet.timestamp}")
        return False

    def _leave_unfinished(self, detail: str) -> None:
        if not self._lost:
            self._breach(Rule.MARKER_MISSING, detail)
        self._close_frame()

    def _open_frame(
        self, packet: RtpPacket, csrc: int, payload_format: PayloadFormat, *, surely_whole: bool, late: bool
    ) -> None:
        if csrc != self._csrc:
            self._bind(csrc)
            self._restart = True
        self._step_timestamp(packet.timestamp, payload_format, late=late)
        self._open = True
        # What was lost directly before may be this frame's head, but a start is where the sender chose to begin.
        self._damaged = self._lost > 0 and not surely_whole and not self._restart
        self._breaches(self._codec.open(restart=self._restart, lost=self._lost))
        self._restart = False

    def _close_frame(self) -> None:
        self._breaches(self._codec.close(damaged=self._damaged))
        if self._marked:
            self._breaches(self._origin.close(damaged=self._damaged))
        self._report.frames += 1
        self._report.keyframes += self._codec.keyframe
        self._report.damaged_frames += self._damaged
        self._open = self._damaged = self._marked = False
        self._lost_unmarked = 0
        self._end_of_frame()

    def _audio(self, packet: RtpPacket, csrc: int, payload_format: PayloadFormat, *, late: bool) -> None:
        previous = self._timestamp
        if csrc != self._csrc:
            self._bind(csrc)
            if previous is not None:
                if not packet.marker:
                    self._breach(Rule.AUDIO_MARKER, f"CSRC {csrc:#x}")
                step = (packet.timestamp - previous) & 0xFFFFFFFF
                if step % self._slot.audio_frame_samples:
                    self._breach(Rule.AUDIO_STEP, f"{step} samples")
        self._step_timestamp(packet.timestamp, payload_format, late=late)
        tag = read_tag(packet.payload)
        if tag is not None:
            self._breaches(self._origin.audio(tag, csrc))
        self._report.frames += 1
        self._end_of_frame()

    def _bind(self, csrc: int) -> None:
        self._report.binds += 1
        self._csrc = csrc
        if not self._binds_announced:
            return
        if csrc not in self._binds:
            self._breach(Rule.CSRC_UNEXPECTED, f"{csrc:#x}, announced are {[hex(bind) for bind in self._binds]}")
            return
        while self._binds.popleft() != csrc:
            pass

    def _step_timestamp(self, timestamp: int, payload_format: PayloadFormat, *, late: bool) -> None:
        previous, self._timestamp = self._timestamp, timestamp
        if previous is not None and not 0 < (timestamp - previous) & 0xFFFFFFFF < HALF_TIMESTAMP:
            self._breach(Rule.TIMESTAMP_ORDER, f"{timestamp} after {previous}")
        self._extended_timestamp = extend(timestamp, self._extended_timestamp, 32) if self._drift_us else timestamp
        tolerance_us = self._slot.timestamp_tolerance_us
        if late or tolerance_us is None:
            return
        drift_us = self._at_us - self._extended_timestamp * 1e6 / payload_format.clock_rate
        lowest, highest = self._drift_us or (drift_us, drift_us)
        self._drift_us = (min(lowest, drift_us), max(highest, drift_us))
        if self._drift_us[1] - self._drift_us[0] > tolerance_us:
            self._breach(Rule.TIMESTAMP_DRIFT, f"by {self._drift_us[1] - self._drift_us[0]:.0f} us")
            self._drift_us = (drift_us, drift_us)

    def _end_of_frame(self) -> None:
        if self._last_frame_us is not None:
            self._measure_gap(self._at_us)
        self._last_frame_us = max(self._at_us, self._last_frame_us or 0)

    def _measure_gap(self, now_us: int) -> None:
        from_us = self._last_frame_us or 0
        gap_us = now_us - from_us
        self._report.longest_gap_us = max(self._report.longest_gap_us, gap_us)
        if gap_us > self._slot.max_frame_gap_us:
            self._report.frame_gaps.append(FrameGap(from_us, now_us))
