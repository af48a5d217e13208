# SPDX-License-Identifier: Apache-2.0
"""A program: sends audio to a worker as fast as it can, until its standard input is closed.

`python -m tests.integration.flooder PORT UFRAG PASSWORD SSRC`
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

from sfu.engine.srtp import SrtpSession
from tests.integration.bare_peer import GCM, MAX_DATAGRAM, connectivity_check, is_success, made_up_key
from tests.integration.processes import say

HOST = "127.0.0.1"
NAME = "flooder"
PAYLOAD_TYPE = 111
OPUS_BYTES = 80
FRAME_TICKS = 960
BATCH = 64  # packets between two looks at the standard input
WITHIN_S = 10.0
CONSENT_EVERY_S = 5.0  # RFC 7675 §5.1
RTP = struct.Struct("!BBHII")


def main(port: int, ufrag: str, password: bytes, ssrc: int) -> None:
    session = SrtpSession(GCM, made_up_key(f"{NAME} sends"), True)
    payload = bytes(OPUS_BYTES)
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WITHIN_S)
        sock.connect((HOST, port))
        sock.send(connectivity_check(ufrag, password))
        assert is_success(sock.recv(MAX_DATAGRAM), password)
        say(connected=True)
        consent_s = time.monotonic()
        while not select.select([sys.stdin], [], [], 0)[0]:
            if time.monotonic() - consent_s > CONSENT_EVERY_S:
                consent_s = time.monotonic()
                sock.send(connectivity_check(ufrag, password))
            for _ in range(BATCH):
                header = RTP.pack(0x80, PAYLOAD_TYPE, number & 0xFFFF, number * FRAME_TICKS & 0xFFFFFFFF, ssrc)
                sock.send(session.protect(header + payload))
                number += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3].encode(), int(sys.argv[4]))
