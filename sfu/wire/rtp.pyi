# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field
from typing import Self

from sfu.wire.extensions import HeaderExtension

@dataclass(slots=True)
class RtpPacket:
    payload_type: int = 0
    marker: bool = False
    sequence_number: int = 0
    timestamp: int = 0
    ssrc: int = 0
    csrcs: tuple[int, ...] = ()
    extensions: dict[int, bytes] = field(default_factory=dict)
    payload: bytes = b""
    padding_size: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Self: ...
    def serialize(self) -> bytes: ...

def looks_like_rtcp(data: bytes) -> bool: ...
def parse_extensions(data: bytes, ids: dict[int, HeaderExtension]) -> dict[HeaderExtension, bytes]: ...
