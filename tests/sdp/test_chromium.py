# SPDX-License-Identifier: Apache-2.0
"""Chromium makes real offers and applies our answers; no media flows."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from sfu.sdp.negotiation import Offer, compare_offers, parse_offer, write_answer
from tests.sdp.answer_rules import check_answer
from tests.sdp.descriptions import LOCAL, slots_of

pytestmark = pytest.mark.browser

PAGE = """() => {
    window.connect = () => {
        const canvas = document.createElement('canvas');
        canvas.width = 1280;
        canvas.height = 720;
        canvas.getContext('2d');
        const picture = canvas.captureStream(15).getVideoTracks()[0];
        const sound = new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
        window.pc = new RTCPeerConnection();
        pc.addTransceiver(sound, {direction: 'sendonly'});
        pc.addTransceiver(picture, {direction: 'sendonly', sendEncodings: [
            {rid: 'q', scaleResolutionDownBy: 4}, {rid: 'h', scaleResolutionDownBy: 2}, {rid: 'f'}]});
        for (let i = 0; i < 4; i++) pc.addTransceiver('video', {direction: 'recvonly'});
        for (let i = 0; i < 6; i++) pc.addTransceiver('audio', {direction: 'recvonly'});
    };
    window.offer = async () => {
        await pc.setLocalDescription(await pc.createOffer());
        return pc.localDescription.sdp;
    };
    window.answer = async sdp => {
        await pc.setRemoteDescription({type: 'answer', sdp});
        return pc.getTransceivers().map(t => [t.mid, t.currentDirection]);
    };
}"""


@pytest.fixture(scope="module")
def browser_page(chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.fixture
def page(browser_page: Page) -> Page:
    browser_page.reload()
    browser_page.evaluate(PAGE)
    return browser_page


def negotiate(page: Page, version: int) -> tuple[Offer, list[list[Any]]]:
    """One round: the offer as read, and [mid, current direction] of each transceiver after the answer."""
    text = page.evaluate("offer()")
    offer = parse_offer(text)
    answer = write_answer(offer, LOCAL, slots_of(offer), version)
    check_answer(text, answer)
    directions = page.evaluate("sdp => answer(sdp)", answer)
    assert page.evaluate("pc.signalingState") == "stable"
    return offer, directions


def test_three_layers_and_ten_slots(page: Page) -> None:
    page.evaluate("connect()")
    offer, directions = negotiate(page, 1)
    assert offer.sections[1].rids == ("q", "h", "f")
    assert directions == [["0", "sendonly"], ["1", "sendonly"], *([str(mid), "recvonly"] for mid in range(2, 12))]

    sender = page.evaluate("pc.getTransceivers()[1].sender.getParameters()")
    assert [encoding["rid"] for encoding in sender["encodings"]] == ["q", "h", "f"]
    assert {codec["mimeType"] for codec in sender["codecs"]} == {
        *("video/VP8", "video/VP9", "video/H264", "video/AV1", "video/rtx"),
    }
    assert {extension["uri"] for extension in sender["headerExtensions"]} == set(offer.sections[1].extensions.values())

    receivers = page.evaluate("pc.getTransceivers().slice(2).map(t => t.receiver.track.readyState)")
    assert receivers == ["live"] * 10


def test_further_offers(page: Page) -> None:
    page.evaluate("connect()")
    first, _ = negotiate(page, 1)

    # Grow the pool, stop the section that carries the bundle's transport, stop a slot, restart ICE: all at once.
    page.evaluate("""() => {
        pc.getTransceivers()[2].stop();
        pc.getTransceivers()[0].stop();
        pc.getTransceivers()[1].direction = 'inactive';
        pc.addTransceiver('video', {direction: 'recvonly'});
        pc.restartIce();
    }""")
    second, directions = negotiate(page, 2)
    changes = compare_offers(first, second)
    assert changes.ice_restart
    assert not changes.dtls_restart
    assert {section.mid for section in changes.removed} == {"0", "2"}
    assert [section.kind for section in changes.added] == ["video"]
    assert [(before.mid, now.direction) for before, now in changes.changed] == [("1", "inactive")]
    assert directions[0] == ["1", "inactive"]
    assert all(direction == "recvonly" for _, direction in directions[1:])

    # The stopped places are used again, the first one too: Chromium makes a new transport for the new section.
    page.evaluate("""() => {
        pc.getTransceivers()[0].direction = 'sendonly';
        pc.addTransceiver('audio', {direction: 'recvonly'});
        pc.createDataChannel('refused in this step');
    }""")
    third, directions = negotiate(page, 3)
    changes = compare_offers(second, third)
    assert changes.ice_restart
    assert changes.dtls_restart
    assert [(section.kind, section.index) for section in changes.added] == [("audio", 0)]
    assert [(before.mid, now.direction) for before, now in changes.changed] == [("1", "publish")]
    assert third.sections[1].rids == ("q", "h", "f")
    assert directions[0] == ["1", "sendonly"]


def test_places_behind_the_first_are_used_again_on_the_same_transport(page: Page) -> None:
    page.evaluate("connect()")
    first, _ = negotiate(page, 1)
    page.evaluate("pc.getTransceivers()[1].stop()")
    second, _ = negotiate(page, 2)
    page.evaluate("pc.addTransceiver('video', {direction: 'recvonly'})")
    third, directions = negotiate(page, 3)
    assert not any(compare_offers(*pair).ice_restart for pair in ((first, second), (second, third)))
    assert [(section.kind, section.index) for section in compare_offers(second, third).added] == [("video", 1)]
    assert directions[-1] == [third.sections[1].mid, "recvonly"]


def test_a_data_channel_alone_is_refused_without_an_error(page: Page) -> None:
    page.evaluate("() => { window.pc = new RTCPeerConnection(); pc.createDataChannel('x'); }")
    offer, directions = negotiate(page, 1)
    assert offer.sections[0].rejected
    assert directions == []
