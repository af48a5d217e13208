# SPDX-License-Identifier: Apache-2.0
"""What `/healthz` and `/readyz` say."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Phase(enum.StrEnum):
    """Where the server is in its life. New joins are taken in READY only."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True)
class Health:
    """Alive is who answers; ready is who may be sent new participants."""

    phase: Phase = Phase.STARTING

    @property
    def ready(self) -> bool:
        return self.phase is Phase.READY
