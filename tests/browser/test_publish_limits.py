# SPDX-License-Identifier: Apache-2.0
"""A page that sends more than the server said is held to the limit by REMB."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest

from tests.browser.calls import ARTEFACTS, PATIENCE_S, WATCH, CallPage
from tests.browser.chromium import ChromiumPage
from tests.browser.serving import Server

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LIMIT_KBPS: Final = 300
HELD: Final = 1.25
"""Of the limit: with the allowance for overhead, and what a rate over a few seconds varies."""
FREE: Final = 3.0
WINDOW_S: Final = 2.0

KEEP_TRANSCEIVERS: Final = """globalThis.transceivers = [];
{ const original = RTCPeerConnection.prototype.addTransceiver;
RTCPeerConnection.prototype.addTransceiver = function (...given) {
  const added = original.apply(this, given); transceivers.push(added); return added; }; }"""
# Noise, of which an encoder makes as many bits as it may.
PUBLISH_NOISE: Final = """(async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 480, height: 270 });
  const context = canvas.getContext("2d");
  const image = context.createImageData(480, 270);
  const pixels = new Uint32Array(image.data.buffer);
  setInterval(() => {
    for (let k = 0; k < pixels.length; k++) pixels[k] = 0xff000000 | (Math.random() * 0x1000000);
    context.putImageData(image, 0, 0);
  }, 66);
  await room.publish(canvas.captureStream(15).getVideoTracks(), { source: "camera", simulcast: false });
  const { sender } = transceivers.find((one) => one.sender.track?.kind === "video");
  const parameters = sender.getParameters();
  const [{ maxBitrate }] = parameters.encodings;
  parameters.encodings[0].maxBitrate = 5_000_000;
  await sender.setParameters(parameters);
  sender.setParameters = async () => {};
  return maxBitrate; })()"""

# What a camera and its backup may send: alone, with the backup, with the codec changed, with the backup at rest.
SHARED: Final = """import("/media.js").then(async ({ LocalPublication, MediaConnection }) => {
  const handlers = { onSlot() {}, onSlotChange() {}, onState() {}, onUndecryptable() {}, encryption: null };
  const media = new MediaConnection(handlers, { max_bitrate_bps: { camera: 3_200_000 } });
  const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
  canvas.getContext("2d").fillRect(0, 0, 1280, 720);
  const local = new LocalPublication(canvas.captureStream(15).getVideoTracks()[0], {});
  const sums = [];
  const note = async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    sums.push(transceivers.map(({ sender }) => sender.getParameters().encodings
      .reduce((sum, one) => sum + (one.active ? one.maxBitrate : 0), 0)));
  };
  media.add(local);
  await note();
  media.addBackup(local, "H264");
  await note();
  await media.setCodec(local, "VP9");
  await note();
  media.setActive(local, ["q", "h", "f"].map((rid) => ({ rid, active: false })), true);
  await note();
  media.close();
  return sums;
})"""


async def noisy_page(page: ChromiumPage, server: Server, room: str) -> tuple[CallPage, int]:
    """A camera whose page raises its bitrate, and for what it was set up."""
    await page.page.add_init_script(KEEP_TRANSCEIVERS)
    call = await CallPage.join(page, server.url, room, "Ada", **WATCH)
    return call, await page.evaluate(PUBLISH_NOISE)


async def sent_kbps(call: CallPage) -> float:
    (before,) = await call.page.evaluate("probe.sent()")
    await asyncio.sleep(WINDOW_S)
    (now,) = await call.page.evaluate("probe.sent()")
    return float(8 * (now["bytesSent"] - before["bytesSent"]) / (now["timestamp"] - before["timestamp"]))


async def test_who_raises_its_bitrate_is_held_to_the_limit(
    open_page: Callable[..., Awaitable[ChromiumPage]], room: str, measured: Callable[[str, float, str], None]
) -> None:
    async with AsyncExitStack() as stack:
        calls, told = [], []
        for limit in (LIMIT_KBPS, 0):
            log = ARTEFACTS / f"server-camera-limit-{limit}.log"
            server = await Server.start(log, flags=("--camera-limit-kbps", str(limit)))
            stack.push_async_callback(server.stop)
            call, bitrate_bps = await noisy_page(await open_page(), server, room)
            calls.append(call)
            told.append(bitrate_bps)
        held, free = calls
        assert told[0] == LIMIT_KBPS * 1000 < told[1]
        await free.until("probe.sent().then((it) => it[0]?.framesEncoded > 10)", "sends")
        await held.until("probe.sent().then((it) => it[0]?.framesEncoded > 10)", "sends")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            held_kbps, free_kbps = await asyncio.gather(sent_kbps(held), sent_kbps(free))
            if free_kbps > FREE * LIMIT_KBPS and held_kbps < HELD * LIMIT_KBPS:
                break
            assert time.monotonic() < deadline, (held_kbps, free_kbps)
        measured("sent by a page that raised its bitrate, limited", held_kbps, "kbit/s")
        measured("sent by a page that raised its bitrate, not limited", free_kbps, "kbit/s")
        assert held_kbps > LIMIT_KBPS / 4, "it is limited, and not stopped"
        # Pages first: their goodbyes are to somebody who is still there.
        for call in calls:
            await call.page.evaluate("room.leave()")


async def test_a_backup_takes_half_of_the_limit_while_it_is_sent(
    open_page: Callable[..., Awaitable[ChromiumPage]], server: Server
) -> None:
    page = await open_page()
    await page.page.add_init_script(KEEP_TRANSCEIVERS)
    await page.goto(server.url)
    whole, half = 3_200_000, 1_600_000
    assert await page.evaluate(SHARED) == [[whole], [half, half], [half, half], [whole, 0]]
