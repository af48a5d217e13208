# SPDX-License-Identifier: Apache-2.0
"""Access tokens: JWT, HS256, with the claims of LiveKit, so that its token tools work.

`iss` is the id of the key that signed, `sub` the identity, `name` what others see; `video` holds the grants. Grants
to publish and to subscribe that are not set are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from sfu.rooms.model import Permissions

ALGORITHM: Final = "HS256"
# Between the clocks of who signs and of this server.
LEEWAY_SECONDS: Final = 10
MAX_NAME_CHARACTERS: Final = 128

RENEW: Final = "get a new token from whoever issues them"


class AuthError(Exception):
    """`code` is "unauthorized" (who are you?) or "forbidden" (not here)."""

    def __init__(self, code: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.advice: Final = advice


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may join as whom."""

    identity: str
    name: str
    permissions: Permissions


class Authenticator:
    """With `keys`, every join needs a token. Without (dev only) everyone is let in."""

    def __init__(self, keys: Mapping[str, str], *, open_to_all: bool) -> None:
        if not keys and not open_to_all:
            raise ValueError("no keys, and not open to all: nobody could join")
        self._keys = dict(keys)
        self._open = open_to_all

    def admit(self, token: str | None, room: str, identity: str | None, name: str) -> Grant | None:
        """None: nobody in particular, let in because the server is open. AuthError otherwise."""
        if token is None or (self._open and not self._keys):
            if self._open:
                return None
            raise AuthError("unauthorized", "this server wants an access token", "send `token` with the join")
        claims = self._verify(token)
        video = claims.get("video")
        if not isinstance(video, dict) or video.get("roomJoin") is not True:
            raise AuthError("forbidden", "the token does not allow to join", "its video grant needs roomJoin: true")
        if video.get("room") != room:
            raise AuthError("forbidden", f"the token is not for the room {room!r}", "its video grant names the room")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_NAME_CHARACTERS:
            raise AuthError("unauthorized", "the token has no usable sub claim", "it is the participant's identity")
        if identity is not None and identity != subject:
            raise AuthError("forbidden", "the token is for another identity", "leave `identity` out: the token says it")
        claimed_name = claims.get("name")
        if isinstance(claimed_name, str) and claimed_name:
            name = claimed_name[:MAX_NAME_CHARACTERS]
        permissions = Permissions(_granted(video, "canPublish"), _granted(video, "canSubscribe"))
        return Grant(subject, name, permissions)

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            # Only to find the key: nothing of it is believed before the signature is checked.
            unverified = jwt.decode(token, options={"verify_signature": False})
            issuer = unverified.get("iss")
            secret = self._keys.get(issuer) if isinstance(issuer, str) else None
            if secret is None:
                raise AuthError("unauthorized", "the token is signed with a key that is not known here", RENEW)
            required = ["iss", "sub", "exp"]
            return jwt.decode(
                token, secret, algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS, options={"require": required}
            )
        except jwt.ExpiredSignatureError:
            raise AuthError("unauthorized", "the token has expired", RENEW) from None
        except jwt.ImmatureSignatureError:
            raise AuthError("unauthorized", "the token is not valid yet", "wait, or set the clocks right") from None
        except RecursionError:
            raise AuthError("unauthorized", "the token is nested too deeply", RENEW) from None
        except jwt.InvalidTokenError as error:
            raise AuthError("unauthorized", f"the token is not valid: {error}", RENEW) from None


def _granted(video: Mapping[str, Any], name: str) -> bool:
    return video.get(name) is not False
