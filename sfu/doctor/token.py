# SPDX-License-Identifier: Apache-2.0
"""What an access token says, read without its key; whether it opens is for the server to say."""

from __future__ import annotations

import time
from typing import Final

import jwt

from sfu.doctor.findings import Report, Status

ADVICE: Final = {
    "token_required": "give one: --token, or SFU_KEYS so that the doctor signs its own; `sfu token` makes them",
    "token_malformed": "give the token alone, without quotes or `Bearer`",
    "token_algorithm": "sign it by HS256",
    "token_unknown_key": "the server has no key of this id: compare the token's `iss` with the server's SFU_KEYS",
    "token_signature": "the secret that it was signed with is not the server's: compare SFU_KEYS on both sides",
    "token_expired": "make a new one, and let your application ask for one at each join",
    "token_not_yet_valid": "the clock of who signed it is ahead of the server's: set both by NTP",
    "token_claims": "see docs/protocol.md, Tokens",
    "token_grant": "it needs the grant `roomJoin`",
    "token_room": "it is for another room: name that one by --room",
    "token_identity": "leave the identity to the token",
    "token_revoked": "an administrator has removed this identity: issue a new token",
}


def room_of(token: str) -> str | None:
    """The room that a token is for, unless it cannot be read."""
    try:
        video = jwt.decode(token, options={"verify_signature": False}).get("video")
    except jwt.InvalidTokenError:
        return None
    room = video.get("room") if isinstance(video, dict) else None
    return room if isinstance(room, str) else None


def describe(token: str, report: Report, now_s: float | None = None) -> bool:
    """Whether it can be of use at all, by this machine's clock."""
    now_s = time.time() if now_s is None else now_s
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        report.add("token", Status.FAIL, f"it cannot be read: {error}", ADVICE["token_malformed"])
        return False
    expires_s = claims.get("exp")
    if isinstance(expires_s, (int, float)) and expires_s < now_s:
        report.add("token", Status.FAIL, f"expired {(now_s - expires_s) / 60:.0f} minutes ago", ADVICE["token_expired"])
        return False
    return True
