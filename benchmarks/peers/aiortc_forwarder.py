# SPDX-License-Identifier: Apache-2.0
"""Forwarders on aiortc as a Python programmer would write them: `python -m benchmarks.peers.aiortc_forwarder`.

The plain one uses what aiortc offers, `MediaRelay`, which forwards decoded frames: they are encoded anew for each
receiver. With `--packets` the packets themselves are passed on, with the receiver's SSRC, past aiortc's public API:
as cheap as it gets with its transports.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
from aiortc.rtp import RtpPacket

from benchmarks.namespaces import Place
from benchmarks.processes import ROOT, environment, stop
from sfu.load.connection import LightConnection
from sfu.load.counts import StreamCounts
from sfu.load.description import CLOCK_RATE_HZ, TRANSPORT_CC, VP8, OfferedSection, read_answer, write_offer
from sfu.load.native import TrafficHub
from sfu.load.program import Program
from sfu.transport.certificate import Certificate
from sfu.transport.dtls import TransportState

READY = "aiortc is ready: "


class Forwarder:
    """One room: the packets of whoever publishes go to everybody else."""

    def __init__(self, *, packets: bool) -> None:
        self._packets = packets
        self._relay = MediaRelay()
        self._published: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
        self._connections: list[RTCPeerConnection] = []
        self._senders: list[RTCRtpSender] = []

    async def offer(self, request: web.Request) -> web.Response:
        told = await request.json()
        connection = RTCPeerConnection()
        self._connections.append(connection)
        if told["publishes"]:
            await connection.setRemoteDescription(RTCSessionDescription(told["sdp"], "offer"))
            receiver = connection.getReceivers()[0]
            if self._packets:
                self._tap(receiver)
            self._published.set_result(receiver.track)
        elif not self._packets:
            connection.addTrack(self._relay.subscribe(await self._published))
            await connection.setRemoteDescription(RTCSessionDescription(told["sdp"], "offer"))
        else:
            transceiver = connection.addTransceiver("video", direction="sendonly")
            await connection.setRemoteDescription(RTCSessionDescription(told["sdp"], "offer"))
            self._senders.append(transceiver.sender)
        await connection.setLocalDescription(await connection.createAnswer())
        return web.json_response({"sdp": connection.localDescription.sdp})

    def _tap(self, receiver: RTCRtpReceiver) -> None:
        """Take the receiver's packets instead of having them decoded."""

        async def forward(packet: RtpPacket, arrival_time_ms: int) -> None:
            for sender in self._senders:
                await self._send(sender, packet)

        vars(receiver)["_handle_rtp_packet"] = forward

    async def _send(self, sender: RTCRtpSender, packet: RtpPacket) -> None:
        if sender.transport.state != "connected":
            return
        copied = copy.copy(packet)
        copied.ssrc = sender._ssrc
        extensions: Any = vars(sender)["_RTCRtpSender__rtp_header_extensions_map"]
        with contextlib.suppress(ConnectionError):
            await sender.transport._send_rtp(copied.serialize(extensions))


async def serve(address: str, *, packets: bool) -> None:
    app = web.Application()
    app.router.add_post("/offer", Forwarder(packets=packets).offer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, address, 0)
    await site.start()
    port = runner.addresses[0][1]
    print(f"{READY}http://{address}:{port}/offer", flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def aiortc_forwarder(place: Place, core: int | None, *, packets: bool) -> Iterator[tuple[int, str]]:
    """Its process id and URL."""
    command = [sys.executable, "-m", "benchmarks.peers.aiortc_forwarder", place.address]
    command += ["--packets"] if packets else []
    process = subprocess.Popen(
        [*place.command(place.server, core), *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise RuntimeError(f"the aiortc forwarder did not start: {line!r}")
        yield process.pid, line.removeprefix(READY).strip()
    finally:
        stop(process)


class AiortcPeer:
    """One participant of the forwarder, whose media is in the hub."""

    def __init__(self, url: str, hub: TrafficHub, certificate: Certificate) -> None:
        self._url = url
        self._hub = hub
        self._number: int | None = None
        self.connection = LightConnection(
            asyncio.get_running_loop(),
            certificate,
            on_rtp=lambda *_: None,
            on_rtcp=lambda *_: None,
            on_state=self._on_state,
        )

    async def enter(self, program: Program | None, group: int, *, stamped: bool) -> None:
        """With a program it publishes, without one it receives. `stamped`: nobody decodes it."""
        publishes = program is not None
        ssrc, rtx_ssrc = 0x10001, 0x10002
        section = OfferedSection("video", "video", publishes, ssrc, rtx_ssrc, (), "bot", "bot")
        ice = self.connection.ice
        offer = write_offer(
            [section],
            ufrag=ice.ufrag,
            password=ice.password,
            fingerprint=self.connection.fingerprint,
            setup="active",
            version=1,
        )
        host, port = self.connection.local_address
        where = "127.0.0.1" if host in ("::", "0.0.0.0") else host
        # aiortc does not wait for candidates that come later.
        candidate = f"a=candidate:1 1 udp 2130706431 {where} {port} typ host\r\na=end-of-candidates\r\n"
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url, json={"sdp": offer + candidate, "publishes": publishes}) as answered,
        ):
            answer = read_answer((await answered.json())["sdp"])
        self.connection.start(answer, "active")
        await self.connection.wait_connected()
        fd, keys = self.connection.hand_over()
        self._number = number = self._hub.traffic.add_peer(
            fd, keys.profile.number, keys.receive, keys.send, report_ssrc=ssrc
        )
        self._hub.adopt(self.connection, number)
        if program is None:
            (received,) = answer.sections.values()
            self._hub.traffic.add_stream(number, received.ssrc, CLOCK_RATE_HZ["video"], group=group)
            return
        self._hub.traffic.add_sender(
            number,
            program,
            ssrc=ssrc,
            payload_type=VP8,
            clock_rate_hz=CLOCK_RATE_HZ["video"],
            video=True,
            transport_cc_id=TRANSPORT_CC,
            stamped=stamped,
        )

    def streams(self) -> list[StreamCounts]:
        return [] if self._number is None else self._hub.traffic.streams(self._number)

    async def close(self) -> None:
        self.connection.close()

    def _on_state(self, state: TransportState) -> None:
        if state in (TransportState.FAILED, TransportState.CLOSED) and self._number is not None:
            number, self._number = self._number, None
            self._hub.dismiss(number)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], packets="--packets" in sys.argv))
