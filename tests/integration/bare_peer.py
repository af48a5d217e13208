# SPDX-License-Identifier: Apache-2.0
"""The least that a far end needs: a connectivity check, and SRTP keys made up without a handshake."""

from __future__ import annotations

import random
from typing import Final

from aioice import stun

from sfu.engine.srtp import PROFILES, key_salt_size

GCM: Final = PROFILES["SRTP_AEAD_AES_128_GCM"]
MAX_DATAGRAM: Final = 2048


def made_up_key(name: str) -> bytes:
    """The same for the same name, in any process."""
    return random.Random(name).randbytes(key_salt_size(GCM))


def connectivity_check(ufrag: str, password: bytes, *, nominate: bool = True) -> bytes:
    """What a full ICE agent asks a lite one."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{ufrag}:peer"
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 7
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(password)
    return bytes(request)


def is_success(datagram: bytes, password: bytes) -> bool:
    """Whether a check was answered, and by somebody who knows the password."""
    answer = stun.parse_message(datagram)
    return answer.message_class is stun.Class.RESPONSE and answer.check_message_integrity(password)
