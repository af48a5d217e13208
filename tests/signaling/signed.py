# SPDX-License-Identifier: Apache-2.0
"""Access tokens put together by hand: any claim can be wrong, any can be missing."""

from __future__ import annotations

import time
from typing import Any

import jwt

SECRET = "a secret of the tests; long enough for HS256 and HS384 and HS512 as well"
OTHER_SECRET = "another secret of the tests, as long as the first"
KEYS = {"backend": SECRET, "other": OTHER_SECRET}


def token(secret: str = SECRET, video: Any = None, algorithm: str = "HS256", **claims: Any) -> str:
    """For Ada in the room tea, unless told otherwise. A claim that is None is left out."""
    payload = {
        "iss": "backend",
        "sub": "ada",
        "name": "Ada",
        "nbf": time.time(),
        "exp": time.time() + 600,
        "video": {"roomJoin": True, "room": "tea"} if video is None else video,
    }
    payload |= claims
    return jwt.encode({key: value for key, value in payload.items() if value is not None}, secret, algorithm)


def join_token(identity: str, room: str = "tea", *, issued_at: float | None = None, **grants: Any) -> str:
    """`issued_at` is in seconds since 1970, now unless given."""
    issued = int(time.time() if issued_at is None else issued_at)
    return token(video={"roomJoin": True, "room": room, **grants}, sub=identity, name=identity.title(), nbf=issued)


def admin_token(room: str | None = "tea", **grants: Any) -> str:
    """As a backend has it: nobody joins with it."""
    video = {"roomAdmin": True, "room": room, **grants} if room else grants
    return token(video=video, sub=None, name=None)
