# SPDX-License-Identifier: Apache-2.0
"""What administrators decided about somebody has to hold when that one comes back, with the token it had before.

A decision holds for that identity in that room until a token comes that was issued later: then whoever issues tokens
has decided anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from sfu.rooms.model import Permissions
from signaling.auth import RENEW, AuthCode, AuthError, Grant

# Beyond it the oldest decisions are forgotten. Tokens that live so long that this matters live too long.
MAX_RULINGS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Ruling:
    at: float
    permissions: Permissions | None
    """None: out of the room."""


class Rulings:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._rulings: dict[tuple[str, str], _Ruling] = {}

    def permit(self, room: str, identity: str, permissions: Permissions) -> None:
        self._decide(room, identity, permissions)

    def remove(self, room: str, identity: str) -> None:
        self._decide(room, identity, None)

    def apply(self, room: str, grant: Grant) -> Grant:
        """The grant as it stands after the decisions. AuthError for who was sent out."""
        ruling = self._rulings.get((room, grant.identity))
        # Tokens tell whole seconds: one of the same second counts as the older one.
        if ruling is None or grant.issued_at > ruling.at:
            return grant
        if ruling.permissions is None:
            raise AuthError(AuthCode.REVOKED, "this participant was removed from the room", RENEW)
        return replace(grant, permissions=ruling.permissions)

    def _decide(self, room: str, identity: str, permissions: Permissions | None) -> None:
        key = (room, identity)
        self._rulings.pop(key, None)  # the latest is the last in the order
        self._rulings[key] = _Ruling(self._clock(), permissions)
        if len(self._rulings) > MAX_RULINGS:
            del self._rulings[next(iter(self._rulings))]
