# SPDX-License-Identifier: Apache-2.0
"""The ports of a server: taken as the settings say, with an error that names the flag where that is not possible."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from sfu.config import ENVIRONMENT_PREFIX, ConfigError, Settings
from sfu.engine.worker import Worker
from sfu.transport.ice_lite import IpAddress, interface_addresses

logger = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 1024

# How far a development server looks for a free port.
PORTS_TRIED: Final = 100
LAST_PORT: Final = 65_535

# Addresses that the ready line names; a machine with container bridges has dozens.
MAX_SHOWN: Final = 6

Opened = TypeVar("Opened")


def open_worker(index: int, settings: Settings, port: int) -> Worker:
    """Bound to `port`; with --dev to the next free one. ConfigError."""

    def open_at(candidate: int) -> Worker:
        return Worker(index, settings.udp_host, candidate, inbound_limit_bps=settings.publisher_limit_mbps * 1_000_000)

    try:
        return _open("udp_port", port, open_at, search=settings.dev)
    except (OSError, ValueError) as error:
        raise _cannot("udp", settings.udp_host, port, error) from None


def listen(settings: Settings) -> socket.socket:
    """For HTTP, not yet accepting. Without a host it takes both families where the machine has both. ConfigError."""
    host = http_host(settings)

    def open_at(candidate: int) -> socket.socket:
        if host is None and socket.has_dualstack_ipv6():
            try:
                return socket.create_server(
                    ("::", candidate), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
                )
            except OSError as error:
                # IPv6 that is switched off (net.ipv6.conf.all.disable_ipv6) shows at the bind only.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
        family = socket.AF_INET6 if host is not None and ":" in host else socket.AF_INET
        return socket.create_server((host or "0.0.0.0", candidate), family=family, backlog=BACKLOG)

    try:
        return _open("http_port", settings.http_port, open_at, search=settings.dev)
    except OSError as error:
        raise _cannot("http", host, settings.http_port, error) from None


def http_host(settings: Settings) -> str | None:
    """None: all addresses."""
    return LOOPBACK if settings.http_host is None and settings.dev else settings.http_host


def urls(listener: socket.socket, scheme: str, names: Sequence[str]) -> tuple[str, ...]:
    """How browsers reach a listening server, this machine's own browser first. `names`: what its certificate is for."""
    names = [name for name in names if "*" not in name]
    host, port = listener.getsockname()[:2]
    bound = ipaddress.ip_address(host)
    if not bound.is_unspecified:
        hosts = [*names, host] if names else [host]
    elif names:
        hosts = list(names)
    else:
        hosts = ["localhost", *map(str, outside_addresses(bound.version == 6))]
    return tuple(f"{scheme}://{_in_url(one)}:{port}/" for one in hosts[:MAX_SHOWN])


def outside_addresses(both_families: bool, interfaces: Iterable[IpAddress] | None = None) -> list[IpAddress]:
    """Those that other devices can use, IPv4 first: they are typed by hand."""
    found = interface_addresses() if interfaces is None else interfaces
    usable = [one for one in found if not (one.is_loopback or one.is_link_local)]
    return sorted((one for one in usable if both_families or one.version == 4), key=lambda one: one.version)


def is_for_others(listener: socket.socket) -> bool:
    """Whether other machines reach it."""
    return not ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _open(name: str, port: int, open_at: Callable[[int], Opened], *, search: bool) -> Opened:
    last = min(port + PORTS_TRIED, LAST_PORT) if search and port else port
    for candidate in range(port, last + 1):
        try:
            opened = open_at(candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == last:
                raise
        else:
            if candidate != port:
                logger.warning("%s %d is in use: taking %d", name, port, candidate)
            return opened
    raise AssertionError("the last port either opens or raises")


def _cannot(kind: str, host: str | None, port: int, error: OSError | ValueError) -> ConfigError:
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)
    in_question = "port" if number in (errno.EADDRINUSE, errno.EACCES) else "host"
    value = port if in_question == "port" else host
    setting = f"{kind}_{in_question}"
    advice = f"choose another with --{kind}-{in_question} or {ENVIRONMENT_PREFIX}{setting.upper()}"
    return ConfigError([f"{setting} = {value!r} cannot be used: {reason}; {advice}"])


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
