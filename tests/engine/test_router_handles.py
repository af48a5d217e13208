# SPDX-License-Identifier: Apache-2.0
"""Handles: valid at once, invalid with what they name, never mistaken for what comes to lie in their place."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from sfu.engine.commands import Commands, Payload
from sfu.engine.events import TrackLayers
from tests.engine.media import Vp8Stream, bodies
from tests.engine.router_driver import GCM, VIDEO_TYPES, VP8, Driver

PASSWORD = b"p" * 24


def test_a_whole_call_in_one_list() -> None:
    driver = Driver()
    commands = driver.commands
    publisher, _ = commands.add_transport(PASSWORD)
    receiver, _ = commands.add_transport(PASSWORD)
    track = commands.add_track(publisher, "video", b"1", [VP8])
    commands.add_layer(track)
    slot = commands.add_forwarder(receiver, "video", b"5", 1, 2, {})
    commands.bind(slot, track, 7, 1, VIDEO_TYPES)
    commands.set_target(slot, 0, 0)
    assert driver.statistics().transports == {}, "nothing is seen before it is applied"
    driver.flush()
    statistics = driver.statistics()
    assert statistics.transports.keys() == {publisher, receiver}
    assert statistics.tracks[track].receivers == 1
    assert statistics.forwarders.keys() == {slot}


def test_made_and_removed_in_one_list() -> None:
    driver = Driver()
    commands = driver.commands
    for _ in range(3):
        transport, _ = commands.add_transport(PASSWORD)
        track = commands.add_track(transport, "video", b"1", [VP8])
        commands.add_layer(track)
        slot = commands.add_forwarder(transport, "video", b"5", 1, 2, {})
        commands.bind(slot, track, 7, 1, VIDEO_TYPES)
        commands.remove_track(track)
        commands.remove_forwarder(slot)
        commands.remove_transport(transport)
    driver.flush()
    assert commands.live_handles == (0, 0, 0)
    assert driver.statistics().transports == {}


def test_stale_handles_are_refused() -> None:
    driver = Driver()
    commands = driver.commands
    transport, _ = commands.add_transport(PASSWORD)
    track = commands.add_track(transport, "video", b"1", [VP8])
    slot = commands.add_forwarder(transport, "video", b"5", 1, 2, {})
    other, _ = commands.add_transport(PASSWORD)
    kept = commands.add_forwarder(other, "video", b"5", 1, 2, {})
    commands.remove_transport(transport)
    attempts: list[Callable[[], object]] = [
        lambda: commands.remove_transport(transport),
        lambda: commands.set_keys(transport, GCM, bytes(28), bytes(28)),
        lambda: commands.set_receive_extensions(transport, {1: 1}),
        lambda: commands.send_dtls(transport, b"\x16"),
        lambda: commands.add_track(transport, "video", b"1", [VP8]),
        lambda: commands.add_forwarder(transport, "video", b"5", 1, 2, {}),
        lambda: commands.add_layer(track),
        lambda: commands.remove_track(track),
        lambda: commands.request_keyframe(track, 0),
        lambda: commands.bind(slot, track, 7, 1, VIDEO_TYPES),
        lambda: commands.bind(kept, track, 7, 1, VIDEO_TYPES),
        lambda: commands.unbind(slot),
        lambda: commands.set_target(slot, 0, 0),
        lambda: commands.remove_forwarder(slot),
        lambda: commands.set_target(0, 0, 0),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=r"no (transport|track|forwarder) with handle"):
            attempt()
    driver.flush()
    assert driver.statistics().forwarders.keys() == {kept}


def test_arguments_out_of_range_are_refused_and_leave_nothing_behind() -> None:
    driver = Driver()
    commands = driver.commands
    transport, _ = commands.add_transport(PASSWORD)
    track = commands.add_track(transport, "video", b"1", [VP8])
    slot = commands.add_forwarder(transport, "video", b"5", 1, 2, {})
    attempts: list[Callable[[], object]] = [
        lambda: commands.add_transport(b"short"),
        lambda: commands.add_transport(b"p" * 65),
        lambda: commands.set_keys(transport, GCM, bytes(27), bytes(28)),
        lambda: commands.set_keys(transport, 99, bytes(28), bytes(28)),
        lambda: commands.set_receive_extensions(transport, {0: 1}),
        lambda: commands.set_receive_extensions(transport, {1: 200}),
        lambda: commands.send_dtls(transport, bytes(1_501)),
        lambda: commands.add_track(transport, "screen", b"1", [VP8]),
        lambda: commands.add_track(transport, "video", b"m" * 17, [VP8]),
        lambda: commands.add_track(transport, "video", b"1", [VP8._replace(payload_type=128)]),
        lambda: commands.add_track(transport, "video", b"1", [Payload(96, 5, 0)]),
        lambda: commands.add_layer(track, b"r" * 17),
        lambda: commands.add_forwarder(transport, "text", b"5", 1, 2, {}),
        lambda: commands.bind(slot, track, 7, 1, []),
        lambda: commands.bind(slot, track, 7, 1, [(n, n, None) for n in range(17)]),
        lambda: commands.set_target(slot, 4, 0),
        lambda: commands.set_target(slot, -2, 0),
        lambda: commands.set_target(slot, 0, 8),
    ]
    for attempt in attempts:
        before = len(commands)
        with pytest.raises(ValueError, match=r"\w"):
            attempt()
        assert len(commands) == before
    assert commands.live_handles == (1, 1, 1)


def test_places_are_used_again_under_other_names() -> None:
    driver = Driver()
    seen: set[int] = set()
    for _ in range(300):
        publisher, receiver = driver.peer(), driver.peer()
        track, slot = driver.video_track(publisher), driver.video_slot(receiver)
        driver.bind(slot, track)
        fresh = {publisher.handle, receiver.handle}
        assert not fresh & seen
        seen |= fresh
        driver.commands.remove_transport(publisher.handle)
        driver.commands.remove_transport(receiver.handle)
        driver.flush()
    assert max(handle & 0xFFFFF for handle in seen) <= 1, "the same two places"


def test_events_of_what_is_gone_are_not_told() -> None:
    driver = Driver()
    publisher = driver.connect()
    old = driver.video_track(publisher)
    publisher.send(*Vp8Stream(5, 96).key())
    driver.commands.remove_track(old)
    new = driver.video_track(publisher)
    assert driver.take_events(TrackLayers) == []
    publisher.send(*Vp8Stream(6, 96).key())
    assert driver.take_events(TrackLayers) == [TrackLayers(new, 1)]


def test_a_list_that_is_never_applied_is_freed() -> None:
    commands = Commands(b"000000")
    transport, _ = commands.add_transport(PASSWORD)
    commands.set_keys(transport, GCM, bytes(28), bytes(28))
    commands.send_dtls(transport, b"\x16")
    track = commands.add_track(transport, "video", b"1", [VP8])
    commands.add_layer(track)
    slot = commands.add_forwarder(transport, "video", b"5", 1, 2, {})
    commands.bind(slot, track, 7, 1, VIDEO_TYPES)
    del commands
    gc.collect()


def test_a_second_set_of_keys_changes_nothing() -> None:
    """An index is protected once: keys come once in a transport's life."""
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    track, slot = driver.video_track(publisher), driver.video_slot(receiver)
    driver.bind(slot, track)
    driver.commands.set_keys(receiver.handle, GCM, bytes(28), bytes(28))
    driver.flush()
    sent = Vp8Stream(5, 96).key(3)
    publisher.send(*sent)
    driver.pump()
    assert bodies(receiver.take_rtp()) == bodies(sent)


def test_removing_a_track_unbinds_its_receivers_and_no_others() -> None:
    driver = Driver()
    publisher = driver.connect("p")
    tracks = [driver.video_track(publisher, mid=b"%d" % n) for n in range(2)]
    receivers = [driver.connect(f"r{n}") for n in range(4)]
    for number, peer in enumerate(receivers):
        driver.bind(driver.video_slot(peer), tracks[number % 2])
    streams = [Vp8Stream(10 + n, 96, b"%d" % n) for n in range(2)]
    publisher.send(*streams[0].key(), *streams[1].key())
    driver.pump()
    driver.commands.remove_track(tracks[0])
    driver.flush()
    publisher.send(*streams[0].frame(), *streams[1].frame())
    driver.pump()
    assert [len(peer.take_rtp()) for peer in receivers] == [1, 2, 1, 2]
    assert driver.statistics().tracks.keys() == {tracks[1]}
