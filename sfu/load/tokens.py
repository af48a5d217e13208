# SPDX-License-Identifier: Apache-2.0
"""Access tokens for bots: signed here with one of the server's keys, or asked for (docs/protocol.md, Tokens)."""

from __future__ import annotations

import json
import time
from typing import Final
from urllib.parse import quote

import aiohttp
import jwt

from sfu.client.signal import ClientError

# How long a bot may come back with it.
TTL_S: Final = 6 * 3600
ANSWER_WITHIN_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1 << 16


def read_key(text: str) -> tuple[str, str]:
    """Id and secret of the first key in "id: secret, id: secret"."""
    first = text.partition(",")[0]
    key_id, _, secret = first.partition(":")
    return key_id.strip(), secret.strip()


def mint(key: tuple[str, str], room: str, identity: str) -> str:
    key_id, secret = key
    now = int(time.time())
    claims = {
        "iss": key_id,
        "sub": identity,
        "iat": now,
        "nbf": now,
        "exp": now + TTL_S,
        "video": {"room": room, "roomJoin": True},
    }
    return jwt.encode(claims, secret, "HS256")


async def ask(address: str, room: str, identity: str) -> str:
    """The answer is the token itself, or a JSON object with a `token`. `ClientError` if there is none."""
    filled = address.replace("{room}", quote(room, safe="")).replace("{identity}", quote(identity, safe=""))
    try:
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(filled) as response:
            text = (await response.content.read(MAX_ANSWER_BYTES)).decode(errors="replace").strip()
            if response.status != 200:
                raise ClientError("no_token", f"{filled} answered with status {response.status}: {text[:200]}")
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ClientError("no_token", f"{filled}: {str(error) or type(error).__name__}", "check --token-url") from error
    return read_answer(text)


def read_answer(text: str) -> str:
    if not text.startswith("{"):
        return text
    try:
        return str(json.loads(text)["token"])
    except (ValueError, KeyError):
        raise ClientError("no_token", f"the answer has no token: {text[:200]}", "check --token-url") from None
