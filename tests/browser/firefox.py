# SPDX-License-Identifier: Apache-2.0
"""Drives Firefox by WebDriver BiDi, which it speaks itself: no geckodriver, which Debian does not have."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
from pathlib import Path
from typing import Any

import aiohttp

LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
START_WITHIN_S = 60
COMMAND_WITHIN_S = 60
STOP_WITHIN_S = 15
MAX_MESSAGE_BYTES = 64 << 20  # screenshots

PREFERENCES: dict[str, bool | int | str] = {
    # Fake camera and microphone without a question; candidates with addresses instead of mDNS names.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    # A browser that talks to nobody but the page.
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.region.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "remote.active-protocols": 1,
}


class FirefoxError(Exception):
    pass


class Firefox:
    """One Firefox process with its BiDi session."""

    def __init__(self, process: asyncio.subprocess.Process, http: aiohttp.ClientSession) -> None:
        self._process = process
        self._http = http
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def launch(cls, executable: str, profile: Path) -> Firefox:
        profile.mkdir(parents=True, exist_ok=True)
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        (profile / "user.js").write_text("".join(lines))
        process = await asyncio.create_subprocess_exec(
            *(executable, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        firefox = cls(process, aiohttp.ClientSession())
        try:
            await asyncio.wait_for(firefox._connect(), START_WITHIN_S)
        except BaseException:
            await firefox.close()
            raise
        return firefox

    async def command(self, method: str, **parameters: Any) -> Any:
        assert self._socket is not None
        number = next(self._ids)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": parameters}))
        return await asyncio.wait_for(answer, COMMAND_WITHIN_S)

    async def new_page(self) -> FirefoxPage:
        context = (await self.command("browsingContext.create", type="window"))["context"]
        return FirefoxPage(self, context)

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_WITHIN_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    async def _connect(self) -> None:
        errors = self._process.stderr
        assert errors is not None
        found = None
        while not found:
            line = await errors.readline()
            if not line:
                raise FirefoxError("Firefox ended before it listened")
            found = LISTENING.search(line)
        self._tasks.append(asyncio.create_task(_drain(errors)))
        address = f"{found.group(1).decode()}/session"
        self._socket = await self._http.ws_connect(address, max_msg_size=MAX_MESSAGE_BYTES)
        self._tasks.append(asyncio.create_task(self._read(self._socket)))
        await self.command("session.new", capabilities={})

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            message = json.loads(frame.data)
            answer = self._answers.pop(message.get("id"), None)
            if answer is None or answer.done():
                continue
            if message["type"] == "success":
                answer.set_result(message["result"])
            else:
                answer.set_exception(FirefoxError(f"{message['error']}: {message['message']}"))
        for answer in self._answers.values():
            answer.cancel()


class FirefoxPage:
    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    async def goto(self, url: str) -> None:
        await self._firefox.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited, by way of JSON."""
        result = await self._firefox.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        if result["type"] == "exception":
            raise FirefoxError(result["exceptionDetails"]["text"])
        return json.loads(result["result"]["value"])

    async def screenshot(self, path: Path) -> None:
        shot = await self._firefox.command("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def close(self) -> None:
        await self._firefox.command("browsingContext.close", context=self._context)


async def _drain(stream: asyncio.StreamReader) -> None:
    """A full pipe would stop Firefox."""
    while await stream.read(65536):
        pass
