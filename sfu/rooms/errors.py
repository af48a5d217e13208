# SPDX-License-Identifier: Apache-2.0
"""What a room refuses, in words that a door can hand on."""

from __future__ import annotations

from typing import Final


class RoomError(Exception):
    """`code` is for programs, the message says what is wrong, `advice` what to do about it."""

    def __init__(self, code: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.advice: Final = advice
