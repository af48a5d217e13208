# SPDX-License-Identifier: Apache-2.0
"""Making access tokens, as `sfu token` and the page of a development server do. `auth` reads them."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import jwt

from signaling.auth import ALGORITHM

DEFAULT_TTL_S: Final = 6 * 3600
MAX_TTL_S: Final = 366 * 86_400
# A page joins right after it has asked; whoever stays longer asks again when it reconnects.
PAGE_TTL_S: Final = 3600

TTL: Final = re.compile(r"(\d{1,9})\s*([smhd]?)")
UNIT_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def mint(
    key: tuple[str, str],
    grants: Mapping[str, object],
    *,
    identity: str | None = None,
    name: str | None = None,
    metadata: str | None = None,
    attributes: Mapping[str, str] | None = None,
    ttl_s: int = DEFAULT_TTL_S,
) -> str:
    """`key` is id and secret; `grants` are those of the claim `video`. What is None is left out."""
    key_id, secret = key
    now = int(time.time())
    claims: dict[str, Any] = {"iss": key_id, "iat": now, "nbf": now, "exp": now + ttl_s}
    optional = {"sub": identity, "name": name, "metadata": metadata, "attributes": attributes or None}
    claims |= {claim: value for claim, value in optional.items() if value is not None}
    claims["video"] = {grant: value for grant, value in grants.items() if value is not None}
    return jwt.encode(claims, secret, ALGORITHM)


def guest_identity() -> str:
    """For who has none: somebody new."""
    return f"guest-{secrets.token_hex(6)}"


def parse_ttl(text: str) -> int:
    """Seconds of "90", "90s", "15m", "6h" or "2d". ValueError."""
    found = TTL.fullmatch(text.strip())
    seconds = int(found[1]) * UNIT_S[found[2]] if found else 0
    if not 0 < seconds <= MAX_TTL_S:
        raise ValueError(f"{text!r} is not a time of at most {MAX_TTL_S // 86_400} days, such as 90s, 15m, 6h or 2d")
    return seconds
