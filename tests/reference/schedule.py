# SPDX-License-Identifier: Apache-2.0
"""Twin of sfu.engine.schedule: a dictionary, and `min`."""

from __future__ import annotations


class ScheduleTwin:
    def __init__(self) -> None:
        self.timers: dict[int, int] = {}

    def put(self, name: int, due_us: int) -> None:
        self.timers[name] = due_us

    def remove(self, name: int) -> None:
        self.timers.pop(name, None)

    def next_us(self) -> int | None:
        return min(self.timers.values(), default=None)
