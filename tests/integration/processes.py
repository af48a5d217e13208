# SPDX-License-Identifier: Apache-2.0
"""Test programs in processes of their own, which talk to the test in JSON lines: both ends of that."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Self

Message = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
ANSWER_WITHIN_S: Final = 30.0
END_WITHIN_S: Final = 10.0
# A receiver's account of a minute is one line.
MAX_LINE_BYTES: Final = 1 << 26


class Child:
    """`await Child.start("tests.integration.bot", url)`: the module as a program, with what it says and is told."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Self:
        """Its standard error is ours."""
        command = (sys.executable, "-m", module, *arguments)
        return cls(
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT, limit=MAX_LINE_BYTES)
        )

    async def ask(self, within_s: float = ANSWER_WITHIN_S, **command: Any) -> Message:
        """Tell it to do something and wait for what it says to that."""
        self._input.write(json.dumps(command).encode() + b"\n")
        return await self.hear(within_s)

    async def hear(self, within_s: float = ANSWER_WITHIN_S) -> Message:
        """The next thing it says."""
        async with asyncio.timeout(within_s):
            line = await self._output.readline()
        if not line:
            raise EOFError(f"the program has ended with {await self._process.wait()}")
        message: Message = json.loads(line)
        return message

    async def stop(self) -> None:
        """At the end of its commands it ends by itself; if it does not, it is killed."""
        self._input.close()
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise


def say(**message: Any) -> None:
    """In the program: to the test."""
    print(json.dumps(message), flush=True)


async def commands() -> AsyncIterator[Message]:
    """In the program: what the test tells it, until there will be no more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command: Message = json.loads(line)
        yield command
