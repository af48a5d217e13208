# SPDX-License-Identifier: Apache-2.0
"""Logging to standard error, one line an event: for people (`console`) or for programs (`json`).

A record made with `extra={"fields": {...}}` carries ids and figures of its own: room, participant, publication, reason.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
# What needs no quotes: anything else could end a line, or pass for another field.
PLAIN: Final = re.compile(r"[\w.:/@+-]+")


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    found = getattr(record, "fields", None)
    return found if isinstance(found, Mapping) else {}


class ConsoleFormatter(logging.Formatter):
    """Time, level, logger and message; then the fields as name=value."""

    def __init__(self) -> None:
        super().__init__(FORMAT, DATE_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        fields = "".join(f" {name}={_shown(value)}" for name, value in fields_of(record).items())
        return super().formatMessage(record) + fields


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, the fields; `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _shown(value: object) -> str:
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def configure(level: str, form: str = "console") -> None:
    """`level` is one of debug, info, warning, error. Debug shows ours, not every frame of the libraries."""
    others = "INFO" if level == "debug" else level.upper()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter())
    logging.basicConfig(level=others, handlers=[handler], force=True)
    for name in ("sfu", "signaling"):
        logging.getLogger(name).setLevel(level.upper())
    # One line per request says nothing that a proxy in front does not say better.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
