# SPDX-License-Identifier: Apache-2.0
"""What the server says of itself at /metrics."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from sfu.load.figures import ServerSample

WITHIN_S: Final = 3.0
MAX_BYTES: Final = 1 << 20
# Sample name, and what its labels must contain.
WANTED: Final = {
    "cpu_s": ("process_cpu_seconds_total", ""),
    "memory_bytes": ("process_resident_memory_bytes", ""),
    "packets_in": ("pysfu_packets_total", 'direction="in"'),
    "packets_out": ("pysfu_packets_total", 'direction="out"'),
    "drops": ("pysfu_drops_total", ""),
}


def metrics_address(url: str, given: str | None) -> str | None:
    """Where to ask; None: nowhere."""
    if given == "off":
        return None
    if given is not None:
        return given
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, "/metrics", "", ""))


def read_metrics(text: str) -> ServerSample | None:
    """Sums over workers and reasons. None: these are not the metrics of this server, or its process is not in them."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        series, _, value = line.rpartition(" ")
        name, _, labels = series.partition("{")
        for field, (wanted, label) in WANTED.items():
            if name == wanted and label in labels:
                sums[field] = sums.get(field, 0.0) + float(value)
    if not {"cpu_s", "memory_bytes", "packets_out"} <= sums.keys():
        return None
    return ServerSample(**{field: sums.get(field, 0.0) for field in WANTED})


class MetricsReader:
    """`problem` says why there is nothing."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._http: aiohttp.ClientSession | None = None
        self.problem: str | None = None if address else "not asked for"

    async def read(self) -> ServerSample | None:
        if self._address is None:
            return None
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S))
        try:
            async with self._http.get(self._address) as response:
                if response.status != 200:
                    self.problem = f"{self._address}: status {response.status}"
                    return None
                sample = read_metrics((await response.content.read(MAX_BYTES)).decode(errors="replace"))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self.problem = f"{self._address}: {str(error) or type(error).__name__}"
            return None
        self.problem = None if sample else f"{self._address} says nothing of a process of this server"
        return sample

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
