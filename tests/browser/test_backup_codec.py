# SPDX-License-Identifier: Apache-2.0
"""Viewers that cannot decode what a publisher sends, and a publisher that changes its codec in the call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.browser.calls import ARTEFACTS, SMALL, WATCH, CallPage
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import Join
from tests.browser.firefox import Firefox
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A viewer whose slots play VP8 and nothing else, as of a browser without newer codecs.
ONLY_VP8 = """{ const original = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
RTCRtpReceiver.getCapabilities = (kind) => { const all = original(kind);
  return kind === "audio" ? all : { ...all, codecs: all.codecs.filter((one) => /VP8|rtx/.test(one.mimeType)) }; }; }"""
BACKUP_RESTS = """room.getStats().then((stats) => {
  const vp8 = [...stats.values()].filter((one) => one.type === "outbound-rtp"
    && stats.get(one.codecId)?.mimeType === "video/VP8");
  return vp8.length > 0 && vp8.every((one) => one.active === false); })"""
WIDTH = SMALL["width"]


def sends(codec: str) -> str:
    return f"""room.getStats().then((stats) => [...stats.values()].some((one) => one.type === "outbound-rtp"
      && one.framesEncoded > 5 && stats.get(one.codecId)?.mimeType === "video/{codec}"))"""


async def plays(viewer: CallPage, name: str, codec: str) -> None:
    await viewer.until(
        f"probe.received({name!r}).then(async (it) => it?.framesDecoded > 5"
        f" && (await room.getStats()).get(it.codecId)?.mimeType === 'video/{codec}')",
        f"gets {name} in {codec}",
    )


@pytest.mark.browser("chromium", "firefox")
async def test_firefox_gets_the_backup_of_who_sends_h264(
    join: Join, firefox_browser: Firefox, server: Server, room: str
) -> None:
    ada = await join("Ada", codec="H264", **SMALL)
    cleo = await join("Cleo", **WATCH)
    await plays(cleo, "Ada", "H264")
    ben = await CallPage.join(await firefox_browser.new_page(), server.url, room, "Ben", **WATCH)
    try:
        await ben.sees("Ada", WIDTH)
        await plays(ben, "Ada", "VP8")
        await plays(cleo, "Ada", "H264")
        assert (
            await ben.page.evaluate("[...room.publications.values()].filter((it) => it.kind === 'video').length") == 1
        )
    finally:
        await ben.close()
    # What nobody needs any more is not sent any more.
    await ada.until(BACKUP_RESTS, "stops sending the backup")
    await plays(cleo, "Ada", "H264")


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["AV1", "VP9"])
async def test_a_viewer_of_vp8_alone_gets_the_backup(
    join: Join, open_page: Callable[..., Awaitable[ChromiumPage]], server: Server, room: str, codec: str
) -> None:
    await join("Ada", codec=codec, **SMALL)
    page = await open_page()
    await page.page.add_init_script(ONLY_VP8)
    ben = await CallPage.join(page, server.url, room, "Ben", **WATCH)
    cleo = await join("Cleo", **WATCH)
    await ben.sees("Ada", WIDTH)
    await plays(ben, "Ada", "VP8")
    await plays(cleo, "Ada", codec)


async def test_what_somebody_present_cannot_decode_is_not_chosen(
    open_page: Callable[..., Awaitable[ChromiumPage]], room: str
) -> None:
    """The server prefers H.264, and who is alone sends it."""
    server = await Server.start(ARTEFACTS / "server-video-codecs.log", flags=("--video-codecs", "H264,VP8"))
    try:
        page = await open_page()
        await page.page.add_init_script(ONLY_VP8)
        await CallPage.join(page, server.url, room, "Ben", **WATCH)
        ada = await CallPage.join(await open_page(), server.url, room, "Ada", **SMALL)
        cleo = await CallPage.join(await open_page(), server.url, f"{room}-alone", "Cleo", **SMALL)
        await ada.until(sends("VP8"), "sends VP8")
        await cleo.until(sends("H264"), "sends H.264")
        assert await cleo.page.evaluate("room.videoCodecs") == ["H264", "VP8"]
    finally:
        assert await server.stop() == 0


@pytest.mark.slow
async def test_a_publisher_changes_its_codec_in_the_call(join: Join) -> None:
    ada = await join("Ada", **SMALL)
    ben = await join("Ben", **WATCH)
    await ben.sees("Ada", WIDTH)
    publication = await ben.page.evaluate("probe.publication('Ada').id")
    await ada.page.evaluate("document.getElementById('devices').click()")
    await ada.until("document.getElementById('choose-codec').value === 'VP8'", "offers codecs")
    for codec in ("H264", "VP9", "AV1", "VP8"):
        await ada.page.evaluate(f"probe.select('choose-codec', {codec!r})")
        await plays(ben, "Ada", codec)
        before = (await ben.received("Ada"))["framesDecoded"]
        await asyncio.sleep(1)
        assert (await ben.received("Ada"))["framesDecoded"] > before + 5
        assert await ben.page.evaluate("probe.publication('Ada').id") == publication
