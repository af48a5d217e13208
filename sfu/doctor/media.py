# SPDX-License-Identifier: Apache-2.0
"""Media from one bot to another through the server: how soon the first packet comes, and whether large ones do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sfu.client.signal import ClientError
from sfu.doctor.findings import Report, Status
from sfu.load.media import VideoLayer, VideoSpec
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.receiving import ReceivedPacket

# Frames of large packets at a rate below the server's first estimate of a link: what the server itself holds back, and
# in the end drops, would look like loss of the network.
CAMERA: Final = VideoSpec((VideoLayer("", 640, 360, 220_000),), temporal_layers=1)
LARGE: Final = 1000
WATCH_S: Final = 2.0
FIRST_PACKET_LIMIT_S: Final = 8.0
LOSS_NOTE: Final = 0.01


@dataclass(slots=True)
class _Seen:
    first_s: float | None = None
    audio: int = 0
    large: int = 0
    flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, received: ReceivedPacket) -> None:
        if self.first_s is None:
            self.first_s = time.perf_counter()
            self.flowing.set()
        self.audio += received.slot.kind == "audio"
        self.large += len(received.data) >= LARGE


async def check_media(url: str, room: str, tokens: Sequence[str | None], report: Report, *, verify_tls: bool) -> None:
    """`tokens`: of two identities. With one alone a bot can join, but there is nobody to receive from."""
    seen = _Seen()
    began = time.perf_counter()
    bots: list[LightPeer] = []
    try:
        for number, token in enumerate(tokens):
            spec = LightSpec(
                room=room, name=f"doctor {number + 1}", token=token, video=CAMERA, video_slots=1, verify_tls=verify_tls
            )
            observer = seen.take if number == 0 else _ignore
            bots.append(await LightPeer.join(url, spec, on_packet=observer))
        joined_s = time.perf_counter()
        if len(bots) < 2:
            report.add(
                "media", Status.NOTE, f"a participant's transport (ICE, DTLS, SRTP) stands in {_ms(joined_s - began)}",
                "for a look at media in both directions the doctor needs two identities: let it sign tokens itself "
                "(SFU_KEYS), instead of --token",
            )  # fmt: skip
            return
        async with asyncio.timeout(FIRST_PACKET_LIMIT_S):
            await seen.flowing.wait()
        await asyncio.sleep(WATCH_S)
    except TimeoutError:
        report.add("media", Status.FAIL, "transports stand, but no packet of the other participant came", MEDIA_ADVICE)
        return
    except (ClientError, ConnectionError, ValueError) as error:
        report.add("media", Status.FAIL, f"{error}", MEDIA_ADVICE)
        return
    finally:
        await asyncio.gather(*(bot.close() for bot in bots), return_exceptions=True)
    assert seen.first_s is not None
    _judge(seen, bots[0], seen.first_s - joined_s, joined_s - began, report)


MEDIA_ADVICE: Final = (
    "checks get through and media does not: look for a firewall that inspects UDP (DTLS, SRTP), and at the "
    "server's log and its /metrics (pysfu_drops)"
)


def _judge(seen: _Seen, bot: LightPeer, first_s: float, join_s: float, report: Report) -> None:
    received = sum(slot.statistics.packets for slot in bot.slots.values())
    lost = sum(slot.statistics.lost - slot.statistics.late for slot in bot.slots.values())
    share = lost / max(1, received + lost)
    detail = f"two joins in {_ms(join_s)}, first packet {_ms(max(0.0, first_s))} later, {share:.1%} lost"
    if not seen.large:
        report.add(
            "media", Status.FAIL, f"{detail}; sound comes, packets of {LARGE} bytes and more do not",
            "the way from the server is too narrow for them: see mtu",
        )  # fmt: skip
    elif share > LOSS_NOTE:
        report.add("media", Status.NOTE, detail, "this network loses packets: pictures will be smaller, or freeze")
    else:
        report.add("media", Status.PASS, detail)


def _ignore(_: ReceivedPacket) -> None:
    """The other end only sends."""


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
