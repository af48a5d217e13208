# SPDX-License-Identifier: Apache-2.0
"""The machine that figures were taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import sfu
from sfu.engine.srtp import LIBSRTP_VERSION, OPENSSL_VERSION


def describe() -> dict[str, str]:
    """As much as somebody needs who compares; `load` is the one-minute load average at this moment."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pysfu": sfu.__version__,
        "crypto": f"{LIBSRTP_VERSION}, {OPENSSL_VERSION}",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in facts.items()}
    return names.get("model name", platform.machine())
