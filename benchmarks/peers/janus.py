# SPDX-License-Identifier: Apache-2.0
"""Janus (Debian's package) with its VideoRoom plugin: how it is configured and started, and a bot's way into a room."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from benchmarks.namespaces import NETWORK, Place
from benchmarks.processes import environment, stop
from sfu.load.connection import LightConnection
from sfu.load.counts import StreamCounts
from sfu.load.description import (
    CLOCK_RATE_HZ,
    MID,
    TRANSPORT_CC,
    VP8,
    Answer,
    AnsweredSection,
    OfferedSection,
    read_answer,
    write_offer,
)
from sfu.load.native import TrafficHub
from sfu.load.program import Program
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState

PORT: Final = 8188
START_LIMIT_S: Final = 15.0
ANSWER_LIMIT_S: Final = 20.0
PLUGIN: Final = "janus.plugin.videoroom"
TRANSPORT_CC_URI: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

CONFIGURATION: Final = """
general: {{
    configs_folder = "{folder}"
    debug_level = 2
    {event_loops}
    session_timeout = 0
}}
nat: {{
    ice_lite = true
    ice_enforce_list = "{network}."
    nice_debug = false
    ignore_mdns = true
}}
plugins: {{
    disable = "{no_plugins}"
}}
transports: {{
    disable = "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so"
}}
events: {{
    broadcast = false
}}
"""
OTHER_PLUGINS: Final = (
    *("audiobridge", "duktape", "echotest", "lua", "nosip", "recordplay", "sip", "streaming", "textroom", "videocall"),
    "voicemail",
)
WEBSOCKETS: Final = "general: {{ ws = true; ws_port = {port}; wss = false }}\n"


@contextlib.contextmanager
def janus(place: Place, core: int | None, *, event_loops: int, libsrtp: Path | None) -> Iterator[tuple[int, str]]:
    """Its process id and URL. `event_loops` = 0: a thread for each participant, as packaged; `libsrtp`: a folder with a
    library to use instead of Debian's.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loops = f"event_loops = {event_loops}" if event_loops else ""
        plugins = ",".join(f"libjanus_{plugin}.so" for plugin in OTHER_PLUGINS)
        (folder / "janus.jcfg").write_text(
            CONFIGURATION.format(folder=folder, event_loops=loops, network=NETWORK, no_plugins=plugins)
        )
        (folder / "janus.transport.websockets.jcfg").write_text(WEBSOCKETS.format(port=PORT))
        (folder / "janus.plugin.videoroom.jcfg").write_text("general: { }\n")
        given = environment() | ({} if libsrtp is None else {"LD_LIBRARY_PATH": str(libsrtp)})
        command = [*place.command(place.server, core), "janus", "-F", str(folder), "-C", str(folder / "janus.jcfg")]
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, env=given)
            try:
                _await_port(place, process, folder / "log")
                yield process.pid, f"ws://{place.address}:{PORT}"
            finally:
                stop(process)


def _await_port(place: Place, process: subprocess.Popen[str], log: Path) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    probe = f"import socket; socket.create_connection(('{place.address}', {PORT}), 1).close()"
    while time.monotonic() < until_s and process.poll() is None:
        if (
            subprocess.run(
                [*place.command(place.server, None), "python3", "-c", probe], capture_output=True, check=False
            ).returncode
            == 0
        ):
            return
        time.sleep(0.2)
    raise RuntimeError(f"Janus did not start: {log.read_text()[-2000:]}")


class JanusSession:
    """One websocket, one session, a handle for each participant."""

    def __init__(self, client: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._client = client
        self._websocket = websocket
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())
        self._session = 0

    @classmethod
    async def open(cls, url: str) -> Self:
        client = aiohttp.ClientSession()
        websocket = await client.ws_connect(url, protocols=("janus-protocol",), heartbeat=None)
        session = cls(client, websocket)
        session._session = (await session.ask(janus="create"))["data"]["id"]
        return session

    @property
    def local_address(self) -> str:
        """From which we reach Janus."""
        address: str = self._websocket.get_extra_info("sockname")[0]
        return address

    async def attach(self) -> int:
        handle: int = (await self.ask(janus="attach", plugin=PLUGIN))["data"]["id"]
        return handle

    async def message(self, handle: int, body: dict[str, Any], jsep: dict[str, str] | None = None) -> dict[str, Any]:
        """To the plugin; its answer, or the event that answers."""
        more = {} if jsep is None else {"jsep": jsep}
        answer = await self.ask(janus="message", handle_id=handle, body=body, **more)
        data: dict[str, Any] = answer["plugindata"]["data"]
        if "error" in data:
            raise ConnectionError(f"Janus refuses {body['request']}: {data['error']}")
        return answer

    async def ask(self, **request: Any) -> dict[str, Any]:
        transaction = secrets.token_hex(8)
        future = asyncio.get_running_loop().create_future()
        self._answers[transaction] = future
        session = {"session_id": self._session} if self._session else {}
        await self._websocket.send_str(json.dumps(request | session | {"transaction": transaction}))
        async with asyncio.timeout(ANSWER_LIMIT_S):
            answer: dict[str, Any] = await future
        if answer["janus"] == "error":
            raise ConnectionError(f"Janus: {answer['error']}")
        return answer

    async def close(self) -> None:
        await self._websocket.close()
        await self._client.close()
        self._reader.cancel()

    async def _read(self) -> None:
        async for message in self._websocket:
            told = json.loads(message.data)
            if told["janus"] == "ack":
                continue
            future = self._answers.pop(told.get("transaction", ""), None)
            if future is not None and not future.done():
                future.set_result(told)


class JanusPeer:
    """One participant. `publish` or `subscribe` brings the media into the hub."""

    def __init__(self, session: JanusSession, hub: TrafficHub, certificate: Certificate) -> None:
        self._session = session
        self._hub = hub
        self._local = session.local_address
        self._number: int | None = None
        self.connection = LightConnection(
            asyncio.get_running_loop(),
            certificate,
            on_rtp=_ignore,
            on_rtcp=_ignore,
            on_state=self._on_state,
        )

    async def create_room(self, room: int) -> None:
        handle = await self._session.attach()
        await self._session.message(
            handle,
            {
                "request": "create",
                "room": room,
                "publishers": 8,
                "bitrate": 0,
                "videocodec": "vp8",
                "audiocodec": "opus",
                "transport_wide_cc_ext": True,
                "notify_joining": False,
            },
        )

    async def publish(self, room: int, feed: int, program: Program) -> None:
        handle = await self._session.attach()
        await self._session.message(handle, {"request": "join", "ptype": "publisher", "room": room, "id": feed})
        ssrc, rtx_ssrc = secrets.randbelow(1 << 31) + 1, secrets.randbelow(1 << 31) + 1
        section = OfferedSection("video", "video", True, ssrc, rtx_ssrc, (), "bot", "bot")
        ice = self.connection.ice
        offer = write_offer(
            [section],
            ufrag=ice.ufrag,
            password=ice.password,
            fingerprint=self.connection.fingerprint,
            setup="actpass",
            version=1,
        )
        answer = await self._session.message(
            handle,
            {"request": "publish", "audio": False, "video": True},
            {"type": "offer", "sdp": offer + self._candidate()},
        )
        facts = read_answer(answer["jsep"]["sdp"])
        self.connection.start(facts, "actpass")
        await self.connection.wait_connected()
        number = self._hand_over(transport_cc_id=0, ssrc=ssrc)
        accepted = facts.sections["video"].extensions
        self._hub.traffic.add_sender(
            number,
            program,
            ssrc=ssrc,
            payload_type=VP8,
            clock_rate_hz=CLOCK_RATE_HZ["video"],
            video=True,
            mid=b"video",
            mid_id=MID if MID in accepted else 0,
            transport_cc_id=TRANSPORT_CC if TRANSPORT_CC in accepted else 0,
        )

    async def subscribe(self, room: int, feed: int, group: int) -> None:
        handle = await self._session.attach()
        offered = await self._session.message(
            handle, {"request": "join", "ptype": "subscriber", "room": room, "streams": [{"feed": feed}]}
        )
        offer = read_answer(offered["jsep"]["sdp"])
        sdp = self._answer(offered["jsep"]["sdp"], offer)
        await self._session.message(handle, {"request": "start"}, {"type": "answer", "sdp": sdp})
        self.connection.start(offer, "active")
        await self.connection.wait_connected()
        (section,) = [section for section in offer.sections.values() if section.kind == "video"]
        ids = [number for number, uri in section.extensions.items() if uri == TRANSPORT_CC_URI]
        number = self._hand_over(transport_cc_id=(ids or [0])[0], ssrc=1)
        self._hub.traffic.add_stream(
            number, section.ssrc, CLOCK_RATE_HZ["video"], rtx_ssrc=section.rtx_ssrc, group=group
        )

    def streams(self) -> list[StreamCounts]:
        return [] if self._number is None else self._hub.traffic.streams(self._number)

    async def close(self) -> None:
        self.connection.close()

    def _hand_over(self, *, transport_cc_id: int, ssrc: int) -> int:
        fd, keys = self.connection.hand_over()
        self._number = self._hub.traffic.add_peer(
            fd, keys.profile.number, keys.receive, keys.send, report_ssrc=ssrc, transport_cc_id=transport_cc_id
        )
        self._hub.adopt(self.connection, self._number)
        return self._number

    def _on_state(self, state: TransportState) -> None:
        if state in (TransportState.FAILED, TransportState.CLOSED) and self._number is not None:
            number, self._number = self._number, None
            self._hub.dismiss(number)

    def _answer(self, offer: str, facts: Answer) -> str:
        """Takes what is offered: its codecs, numbers and extensions are given back as they came."""
        ice = self.connection.ice
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE " + " ".join(facts.sections)]
        for section in facts.sections.values():
            payloads = " ".join(map(str, section.codecs))
            lines += [
                f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {payloads}",
                "c=IN IP4 0.0.0.0",
                f"a=ice-ufrag:{ice.ufrag}",
                f"a=ice-pwd:{ice.password}",
                f"a=fingerprint:{self.connection.fingerprint}",
                "a=setup:active",
                f"a=mid:{section.mid}",
                *(f"a=extmap:{number} {uri}" for number, uri in section.extensions.items()),
                "a=recvonly",
                "a=rtcp-mux",
                *_codec_lines(offer, section),
            ]
        return "".join(line + "\r\n" for line in lines) + self._candidate()

    def _candidate(self) -> str:
        """Janus begins when it has one."""
        host, port = self.connection.local_address
        where = self._local if host in ("::", "0.0.0.0") else host
        return f"a=candidate:1 1 udp 2130706431 {where} {port} typ host\r\na=end-of-candidates\r\n"


def _codec_lines(offer: str, section: AnsweredSection) -> list[str]:
    wanted = tuple(f"a={name}:{number} " for number in section.codecs for name in ("rtpmap", "fmtp", "rtcp-fb"))
    return [line for line in offer.splitlines() if line.startswith(wanted)]


def _ignore(_: bytes, __: int) -> None:
    """Media before the hand-over."""


def find_libsrtp() -> Path | None:
    """What benchmarks/peers/build.sh has built."""
    folder = Path(os.environ.get("PYSFU_PEERS", Path(__file__).resolve().parents[2] / "build" / "peers")) / "libsrtp"
    return folder if (folder / "libsrtp2.so.1").exists() else None
