# SPDX-License-Identifier: Apache-2.0
"""The C prototype of the hot loop, to measure beside where there is one: its folder is given, it is not in the tree."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from pylibsrtp import _binding

from benchmarks.namespaces import Place
from benchmarks.processes import environment

MEDIAN: Final = re.compile(r"cpu/egress-pkt med +(\d+)")
EVP_GCM, LIBSRTP_CM = "2", "3"
SENDMMSG, SENDMMSG_GSO = "2", "3"
DRAINED: Final = "1"


class Floor:
    """Compiled once. It pins itself: the loop to core 0, its receivers to core 1."""

    def __init__(self, folder: Path, where: Place, *, gro: bool) -> None:
        if where.server is None or where.client is None:
            raise SystemExit("the C prototype needs root, for network namespaces")
        self._where = where
        self._gro = gro
        self._folder = tempfile.TemporaryDirectory()
        self._program = Path(self._folder.name) / "floor"
        sources = [str(folder / name) for name in ("sfu.c", "pystub.c")]
        subprocess.run(["gcc", "-O2", "-w", "-o", str(self._program), *sources, "-rdynamic", "-ldl"], check=True)

    def us_a_packet(self, receivers: int, *, gso: bool, gcm: bool) -> float:
        """Median of its own nine runs; its receivers are drained, as ours are."""
        where = self._where
        assert where.client is not None
        crypto, send = EVP_GCM if gcm else LIBSRTP_CM, SENDMMSG_GSO if gso else SENDMMSG
        address = "127.0.0.1" if where.server == where.client else where.client_address
        arguments = [_binding.__file__, address, where.client, DRAINED, crypto, send, str(receivers)]
        done = subprocess.run(
            [*where.command(where.server, None), str(self._program), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=environment() | ({"GRO": "1"} if self._gro else {}),
        )
        found = MEDIAN.search(done.stdout)
        if found is None:
            raise RuntimeError(f"the C prototype said {done.stdout!r}")
        return int(found[1]) / 1000
