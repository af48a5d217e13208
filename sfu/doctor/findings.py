# SPDX-License-Identifier: Apache-2.0
"""What the doctor found: one line for each thing looked at, with what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# In the order in which a connection comes about.
CHECKS: Final = (
    "address", "dns", "tcp", "tls", "http", "clock", "token", "websocket", "announced", "udp", "nat", "mtu", "media",
)  # fmt: skip


class Status(enum.StrEnum):
    PASS = "pass"  # noqa: S105
    NOTE = "note"
    """Works, but will not for everybody, or could not be told."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    """One of CHECKS."""
    status: Status
    detail: str
    advice: str = ""


@dataclass(slots=True)
class Report:
    url: str
    on_finding: Callable[[Finding], None] = lambda _: None
    findings: list[Finding] = field(default_factory=list)

    def add(self, check: str, status: Status, detail: str, advice: str = "") -> Finding:
        assert check in CHECKS
        finding = Finding(check, status, detail, advice)
        self.findings.append(finding)
        self.on_finding(finding)
        return finding

    @property
    def healthy(self) -> bool:
        return all(finding.status is not Status.FAIL for finding in self.findings)

    def of(self, check: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.check == check]

    def as_json(self) -> dict[str, Any]:
        return {"url": self.url, "healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}
