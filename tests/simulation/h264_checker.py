# SPDX-License-Identifier: Apache-2.0
"""The stream checker's rules for H.264 (RFC 6184)."""

from __future__ import annotations

from tests.simulation.codec_checker import Breach, Facts
from tests.simulation.h264_payload import FU_A, NAL_IDR, NAL_PPS, NAL_SPS, STAP_A, H264Packet, parse_h264
from tests.simulation.rtp_packets import MalformedPacket
from tests.simulation.stream_rules import Rule


class H264Checker:
    """Judges frames in order of sequence numbers: whole fragments, and SPS, PPS and IDR where decoding begins."""

    def __init__(self, packetization_mode: int) -> None:
        self._mode = packetization_mode
        self._packet = H264Packet(())
        self._units: list[int] = []
        self._fragment: int | None = None
        self._restart = False
        self._excused = False
        self.keyframe = False

    def parse(self, payload: bytes) -> tuple[Facts, list[Breach]]:
        """Look at a packet."""
        try:
            self._packet = parse_h264(payload)
        except MalformedPacket as error:
            self._packet = H264Packet(())
            return Facts(True, False), [(Rule.H264_MALFORMED, str(error))]
        breaches: list[Breach] = []
        if self._mode == 0 and payload[0] & 0x1F in {STAP_A, FU_A}:
            breaches.append((Rule.H264_MALFORMED, "aggregated or fragmented in packetization mode 0"))
        may_start = self._packet.fragment is None or self._packet.fragment_start
        return Facts(may_start, False), breaches

    def lose(self, packets: int) -> None:
        """Packets are missing before the next one."""
        self._fragment = None
        self._excused = True

    def open(self, *, restart: bool, lost: int) -> list[Breach]:
        """The packet last parsed begins a frame."""
        self._units = []
        self._fragment = None
        self._restart = restart
        self._excused = lost > 0
        self.keyframe = False
        return []

    def add(self, *, first: bool) -> list[Breach]:
        """The packet last parsed belongs to the open frame."""
        found = self._packet
        self._units += found.units
        self.keyframe = self.keyframe or NAL_IDR in found.units
        breaches: list[Breach] = []
        continues = found.fragment is not None and not found.fragment_start
        if continues and self._fragment != found.fragment and not self._excused:
            breaches.append((Rule.H264_FRAGMENT, f"part of unit {found.fragment}, open is {self._fragment}"))
        elif not continues and self._fragment is not None and found != H264Packet(()):
            breaches.append((Rule.H264_FRAGMENT, f"unit {self._fragment} without its end"))
        if found.fragment is None:
            self._fragment = None
        else:
            self._fragment = None if found.fragment_end else found.fragment
        self._excused = False
        return breaches

    def close(self, *, damaged: bool) -> list[Breach]:
        """The open frame ended."""
        breaches: list[Breach] = []
        if self._fragment is not None and not damaged:
            breaches.append((Rule.H264_FRAGMENT, f"frame ends within unit {self._fragment}"))
        if self._restart and not damaged:
            wanted = [unit for unit in (NAL_SPS, NAL_PPS, NAL_IDR) if unit not in self._units]
            if wanted:
                breaches.append((Rule.START_WITHOUT_KEYFRAME, f"units {self._units} lack {wanted}"))
            elif self._units.index(NAL_SPS) > self._units.index(NAL_IDR):
                breaches.append((Rule.START_WITHOUT_KEYFRAME, "SPS behind the IDR"))
        self._fragment = None
        self._restart = False
        return breaches
