# SPDX-License-Identifier: Apache-2.0
"""Logging to standard error, one line an event."""

from __future__ import annotations

import logging
from typing import Final

FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


def configure(level: str) -> None:
    """`level` is one of debug, info, warning, error. Debug shows ours, not every frame of the libraries."""
    others = "INFO" if level == "debug" else level.upper()
    logging.basicConfig(format=FORMAT, datefmt=DATE_FORMAT, level=others, force=True)
    for name in ("sfu", "signaling"):
        logging.getLogger(name).setLevel(level.upper())
    # One line per request says nothing that a proxy in front does not say better.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
