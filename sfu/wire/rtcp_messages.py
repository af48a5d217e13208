# SPDX-License-Identifier: Apache-2.0
"""RTCP packets as plain data, for Python callers; read and written by `sfu.wire.rtcp_packets`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """One reception report; see `ReportBlock` in rtcp.pxd for the units."""

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay_since_last_sr: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int = 0
    rtp_timestamp: int = 0
    packet_count: int = 0
    octet_count: int = 0
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES with one chunk that holds one CNAME; others are parsed as `Other`."""

    ssrc: int
    cname: bytes


@dataclass(frozen=True, slots=True)
class Goodbye:
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLossIndication:
    sender: int
    media: int


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """`entries` are (SSRC, command number)."""

    sender: int
    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Nack:
    sender: int
    media: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Remb:
    sender: int
    bitrate_bps: int
    ssrcs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """arrivals_us[i] is when base_sequence + i arrived at the receiver, on its clock; None = not received."""

    sender: int
    media: int
    base_sequence: int
    feedback_count: int
    arrivals_us: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A packet that has no class of its own (XR, APP, …); `data` is the whole of it."""

    packet_type: int
    count: int
    data: bytes


Packet = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | PictureLossIndication
    | FullIntraRequest
    | Nack
    | Remb
    | TransportFeedback
    | Other
)
