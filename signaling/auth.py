# SPDX-License-Identifier: Apache-2.0
"""Access tokens: JWT, HS256, with the claims of LiveKit, so that its token tools work.

`iss` is the id of the key that signed, `sub` the identity, `name` what others see, `metadata` and `attributes` more of
the same; `video` holds the grants. Grants to publish, to subscribe and to send data that are not set are given, all
others are not.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import jwt
import msgspec

from sfu.rooms.model import Permissions, Source

ALGORITHM: Final = "HS256"
# Between the clocks of who signs and of this server.
LEEWAY_SECONDS: Final = 10
MAX_NAME_CHARACTERS: Final = 128
# What everybody in the room is told of each participant.
MAX_METADATA_CHARACTERS: Final = 8 * 1024

RENEW: Final = "get a new token from whoever issues them"


class AuthCode(enum.StrEnum):
    """Why a token does not open."""

    REQUIRED = "token_required"
    MALFORMED = "token_malformed"
    ALGORITHM = "token_algorithm"
    UNKNOWN_KEY = "token_unknown_key"
    SIGNATURE = "token_signature"
    EXPIRED = "token_expired"
    NOT_YET_VALID = "token_not_yet_valid"
    CLAIMS = "token_claims"
    GRANT = "token_grant"
    ROOM = "token_room"
    IDENTITY = "token_identity"
    REVOKED = "token_revoked"


# Of a token that is believed, and still does not allow what was asked for.
FORBIDDEN: Final = frozenset({AuthCode.GRANT, AuthCode.ROOM, AuthCode.IDENTITY, AuthCode.REVOKED})


class AuthError(Exception):
    def __init__(self, code: AuthCode, message: str, advice: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.advice: Final = advice

    @property
    def status(self) -> int:
        """In HTTP."""
        return 403 if self.code in FORBIDDEN else 401


class VideoGrant(msgspec.Struct, rename="camel", frozen=True):
    """The claim `video`. LiveKit's other grants are for what is not here, and ignored."""

    room_join: bool | None = None
    room: str | None = None
    can_publish: bool | None = None
    can_publish_sources: list[str] | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_update_own_metadata: bool | None = None
    hidden: bool | None = None
    room_admin: bool | None = None
    room_create: bool | None = None
    room_list: bool | None = None

    @property
    def permissions(self) -> Permissions:
        sources = self.can_publish_sources
        known = {source.value: source for source in Source}
        return Permissions(
            can_publish=self.can_publish is not False,
            can_subscribe=self.can_subscribe is not False,
            can_publish_data=self.can_publish_data is not False,
            can_publish_sources=frozenset(known[name] for name in sources if name in known) if sources else None,
            can_update_metadata=self.can_update_own_metadata is True,
            hidden=self.hidden is True,
            room_admin=self.room_admin is True,
        )


class Claims(msgspec.Struct, frozen=True):
    sub: str | None = None
    name: str | None = None
    metadata: str | None = None
    attributes: dict[str, str] | None = None
    video: VideoGrant | None = None
    iat: float | None = None
    nbf: float | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may join as whom."""

    identity: str
    name: str
    permissions: Permissions
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    issued_at: float = 0.0
    """In seconds since 1970, by the clock of who signed. 0: the token does not say."""


class Authenticator:
    """With `keys`, every join needs a token. `open_to_all` (dev only): who brings none is let in all the same."""

    def __init__(self, keys: Mapping[str, str], *, open_to_all: bool) -> None:
        if not keys and not open_to_all:
            raise ValueError("no keys, and not open to all: nobody could join")
        self._keys = dict(keys)
        self._open = open_to_all

    def admit(self, token: str | None, room: str, identity: str | None, name: str) -> Grant | None:
        """None: nobody in particular, let in because the server is open. AuthError otherwise."""
        if token is None:
            if self._open:
                return None
            raise AuthError(AuthCode.REQUIRED, "this server wants an access token", "send `token` with the join")
        claims = self._verify(token)
        video = claims.video or VideoGrant()
        if not video.room_join:
            raise AuthError(AuthCode.GRANT, "the token does not allow to join", "its video grant needs roomJoin: true")
        _check_room(video, room)
        if not claims.sub or len(claims.sub) > MAX_NAME_CHARACTERS:
            raise AuthError(
                AuthCode.CLAIMS,
                f"the token names no identity of 1 to {MAX_NAME_CHARACTERS} characters",
                "its claim `sub` is the participant's identity",
            )
        if identity is not None and identity != claims.sub:
            raise AuthError(
                AuthCode.IDENTITY, "the token is for another identity", "leave `identity` out: the token says it"
            )
        attributes = claims.attributes or {}
        metadata = claims.metadata or ""
        if len(metadata) + sum(len(key) + len(value) for key, value in attributes.items()) > MAX_METADATA_CHARACTERS:
            raise AuthError(
                AuthCode.CLAIMS,
                f"metadata and attributes have more than {MAX_METADATA_CHARACTERS} characters",
                "everybody in the room is told of them: keep them short",
            )
        return Grant(
            identity=claims.sub,
            name=claims.name[:MAX_NAME_CHARACTERS] if claims.name else name,
            permissions=video.permissions,
            metadata=metadata,
            attributes=attributes,
            issued_at=claims.iat or claims.nbf or 0.0,
        )

    def check_admin(self, token: str | None, grant: Literal["roomAdmin", "roomList"], room: str | None = None) -> None:
        """AuthError unless the token has that grant, for that room."""
        if token is None:
            raise AuthError(AuthCode.REQUIRED, "this needs an access token", "send it as `Authorization: Bearer TOKEN`")
        video = self._verify(token).video or VideoGrant()
        if not (video.room_admin if grant == "roomAdmin" else video.room_list):
            raise AuthError(AuthCode.GRANT, "the token does not allow this", f"its video grant needs {grant}: true")
        if room is not None:
            _check_room(video, room)

    def _verify(self, token: str) -> Claims:
        try:
            return msgspec.convert(self._decode(token), Claims)
        except msgspec.ValidationError as error:
            raise AuthError(
                AuthCode.CLAIMS, f"a claim of the token is not as it should be: {error}", "see docs/protocol.md, Tokens"
            ) from None

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm != ALGORITHM:
                raise AuthError(
                    AuthCode.ALGORITHM, f"the token is signed by {str(algorithm)[:20]!r}", f"sign it by {ALGORITHM}"
                )
            # Only to find the key: nothing of it is believed before the signature is checked.
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            secret = self._keys.get(issuer) if isinstance(issuer, str) else None
            if secret is None:
                raise AuthError(
                    AuthCode.UNKNOWN_KEY,
                    "the token is signed with a key that is not known here",
                    "its claim `iss` is the id of one of the server's keys",
                )
            return jwt.decode(
                token, secret, algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS, options={"require": ["iss", "exp"]}
            )
        except jwt.InvalidSignatureError:
            raise AuthError(
                AuthCode.SIGNATURE,
                "the token's signature is wrong",
                "the secret that it was signed with is not the one that the server has for this key id",
            ) from None
        except jwt.ExpiredSignatureError:
            raise AuthError(AuthCode.EXPIRED, "the token has expired", RENEW) from None
        except jwt.ImmatureSignatureError:
            raise AuthError(
                AuthCode.NOT_YET_VALID, "the token is not valid yet", "wait, or set the clocks right"
            ) from None
        except (jwt.DecodeError, RecursionError) as error:
            raise AuthError(AuthCode.MALFORMED, f"this is not a token: {str(error)[:100]}", RENEW) from None
        except jwt.InvalidTokenError as error:
            raise AuthError(AuthCode.CLAIMS, f"a claim of the token is not as it should be: {error}", RENEW) from None


def _check_room(video: VideoGrant, room: str) -> None:
    if video.room != room:
        raise AuthError(
            AuthCode.ROOM, f"the token is not for the room {room!r}", "`room` in its video grant names the one room"
        )
