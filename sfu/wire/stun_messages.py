# SPDX-License-Identifier: Apache-2.0
"""A STUN message as plain data, for Python callers; read by `sfu.wire.stun`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """What ICE wants of a STUN message. `tie_breaker` is that of ICE-CONTROLLING or ICE-CONTROLLED."""

    type: int
    transaction_id: bytes
    username: bytes | None
    use_candidate: bool
    controlling: bool
    controlled: bool
    tie_breaker: int
    priority: int
    has_integrity: bool
    has_fingerprint: bool
