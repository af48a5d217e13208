# SPDX-License-Identifier: Apache-2.0
"""Which web pages may use this server: those of its own origin and of the listed ones.

A browser lets any page on the Internet open a websocket to the server on its user's own machine, and says only in
`Origin` which page it was. A page can also make its own name point to 127.0.0.1 (DNS rebinding): then the origin is
"the same", and only the name itself is strange. So a development server, which lets in everybody, also looks at `Host`.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from signaling.refusals import HttpError

logger = logging.getLogger(__name__)

DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
# RFC 6761 and ICANN's reserved name: nobody can have a domain in these.
PRIVATE_SUFFIXES: Final = (".localhost", ".internal")
ANY: Final = "*"


class Gate:
    def __init__(self, allowed_origins: Sequence[str], *, check_host: bool) -> None:
        """`allowed_origins` as the settings have them: lower case, without default ports. `check_host`: with --dev."""
        self._any = ANY in allowed_origins
        self._allowed = frozenset(allowed_origins)
        self._check_host = check_host
        hostname = socket.gethostname().lower()
        listed = {urlsplit(origin).hostname or "" for origin in allowed_origins}
        self._names = listed | {hostname, f"{hostname}.local"}

    def check_host(self, request: web.Request) -> None:
        """HttpError if the request came by a name that can only be somebody's trick."""
        if self._check_host and not self._any and not self._is_own(request.host):
            host = request.host[:100]
            advice = f"if {host} is meant to be this server, start it with --allow-origin http://{host}"
            logger.warning("refused a request for the host %r: %s", host, advice)
            raise HttpError(403, "forbidden_host", f"a development server does not answer to the name {host!r}", advice)

    def check_origin(self, request: web.Request) -> str | None:
        """The foreign origin that is allowed, or None: the server's own page, or no browser. Others: HttpError."""
        origin = request.headers.get("Origin")
        if origin is None:
            # Browsers leave it out of their simplest requests, and then tell it in this one.
            if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin") or self._any:
                return None
            origin = "another site"
        elif _is_same(origin, request.host):
            return None
        elif self._any or origin.lower() in self._allowed:
            return origin
        advice = f"start the server with --allow-origin {origin[:100]} if that page may use it"
        logger.warning("refused a web page of %r: %s", origin[:100], advice)
        raise HttpError(403, "forbidden_origin", f"pages of {origin[:100]!r} may not use this server", advice)

    def _is_own(self, host: str) -> bool:
        name = _hostname(host)
        # A name without a dot is one of this network: no page on the Internet can have it.
        if "." not in name and ":" not in name:
            return bool(name)
        return name in self._names or name.endswith(PRIVATE_SUFFIXES) or _is_address(name)


def _is_same(origin: str, host: str) -> bool:
    """By name and port only: behind a proxy nobody here knows the scheme. Pages from files have the origin `null`."""
    scheme, _, authority = origin.lower().partition("://")
    port = DEFAULT_PORTS.get(scheme)
    return port is not None and authority.removesuffix(port) == host.lower().removesuffix(port)


def _hostname(host: str) -> str:
    """Of a `Host` header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
