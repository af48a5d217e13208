# SPDX-License-Identifier: Apache-2.0
from sfu.load.counts import FrameArrival, Latency, SenderCounts, StreamCounts, TrafficTotals
from sfu.load.program import Program

class Traffic:
    def __init__(
        self,
        *,
        gro: bool = False,
        sample_every: int = 16,
        sample_markers: bool = False,
        poll_us: int = 1000,
        feedback_ms: int = 50,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def fileno(self) -> int: ...
    def take_control(self) -> list[tuple[int, bytes]]: ...
    def add_peer(
        self,
        fd: int,
        profile: int,
        receive_key: bytes,
        send_key: bytes,
        *,
        report_ssrc: int = 1,
        transport_cc_id: int = 0,
        nack: bool = True,
    ) -> int: ...
    def remove_peer(self, number: int) -> None: ...
    def add_stream(self, number: int, ssrc: int, clock_rate_hz: int, *, rtx_ssrc: int = 0, group: int = 0) -> None: ...
    def add_sender(
        self,
        number: int,
        program: Program,
        *,
        ssrc: int,
        payload_type: int,
        clock_rate_hz: int,
        video: bool,
        mid: bytes = b"",
        rid: bytes = b"",
        mid_id: int = 0,
        rid_id: int = 0,
        transport_cc_id: int = 0,
        abs_send_time_id: int = 0,
        audio_level_id: int = 0,
        audio_level: int = 0,
        delay_us: int = 0,
        stamped: bool = True,
    ) -> None: ...
    def set_sender_active(self, number: int, ssrc: int, active: bool) -> None: ...
    def set_sender_level(self, number: int, ssrc: int, audio_level: int) -> None: ...
    def pause_stream(self, number: int, ssrc: int) -> None: ...
    def streams(self, number: int) -> list[StreamCounts]: ...
    def senders(self, number: int) -> list[SenderCounts]: ...
    def totals(self) -> TrafficTotals: ...
    def latency(self, group: int = 0) -> Latency: ...
    def frames(self, group: int = 0) -> list[FrameArrival]: ...
    def reset_latency(self) -> None: ...
