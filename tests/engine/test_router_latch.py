# SPDX-License-Identifier: Apache-2.0
"""Which track and layer an SSRC belongs to: by mid and rid, by the SDP, by payload type; and a stream that restarts."""

from dataclasses import replace

from sfu.engine.drops import DropReason
from sfu.engine.events import TrackLayers
from tests.engine.media import OpusStream, Simulcast, Vp8Stream, bodies
from tests.engine.router_driver import OPUS, VP8, Driver

SECOND_US = 1_000_000


def layer_packets(driver: Driver, track: int) -> list[int]:
    return [layer.packets for layer in driver.statistics().tracks[track].layers]


def test_layers_are_told_by_mid_and_rid_and_stay_known_without() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer, (b"q", b"h", b"f"))
    cameras = Simulcast.of()
    peer.send(*cameras.frames(key=(0, 1, 2)))
    for layer in cameras.layers:
        layer.identify = False
    for _ in range(4):
        peer.send(*cameras.frames())
    assert layer_packets(driver, track) == [5, 5, 5]
    assert driver.all_drops() == {"no_receiver": 15}
    assert driver.take_events(TrackLayers) == [TrackLayers(track, 0b111)]


def test_what_names_no_track_or_layer_is_counted() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer, (b"q",))
    stream = Vp8Stream(5, 96, b"1", b"q")
    peer.send(*replace(stream, sequence=1, mid=b"9").frame())
    peer.send(*replace(stream, sequence=2, rid=b"z").frame())
    peer.send(*replace(stream, sequence=3, rid=b"").frame())
    peer.send(*replace(stream, sequence=4, payload_type=50).frame())
    peer.send(*replace(stream, sequence=5, identify=False).frame())
    assert driver.all_drops() == {"no_route": 5}
    assert layer_packets(driver, track) == [0]
    peer.send(*stream.frame())
    assert layer_packets(driver, track) == [1]


def test_a_mid_is_not_a_prefix_of_another() -> None:
    driver = Driver()
    peer = driver.connect()
    long = driver.video_track(peer, mid=b"11")
    short = driver.video_track(peer, mid=b"1")
    peer.send(*Vp8Stream(5, 96, b"1").frame())
    assert (layer_packets(driver, long), layer_packets(driver, short)) == ([0], [1])


def test_ssrcs_from_the_sdp() -> None:
    driver = Driver()
    peer = driver.connect()
    tracks = []
    for number in range(2):
        track = driver.commands.add_track(peer.handle, "video", b"%d" % number, [VP8])
        driver.commands.add_layer(track, b"", 500 + number, 600 + number)
        tracks.append(track)
    driver.flush()
    streams = [Vp8Stream(500 + n, 96, identify=False, rtx_ssrc=600 + n) for n in range(2)]
    for stream in streams:
        frames = stream.key(3)
        peer.send(frames[0], frames[2], stream.retransmission(frames[1]))
    for track in tracks:
        [layer] = driver.statistics().tracks[track].layers
        assert (layer.packets, layer.recovered, layer.lost) == (3, 1, 0)


def test_a_payload_type_that_only_one_track_has() -> None:
    driver = Driver()
    peer = driver.connect()
    audio = driver.audio_track(peer)
    video = driver.video_track(peer)
    peer.send(OpusStream(5, 111, identify=False).frame())
    peer.send(*Vp8Stream(6, 96, identify=False).frame())
    assert layer_packets(driver, audio) == layer_packets(driver, video) == [1]
    driver.audio_track(peer, mid=b"8")
    peer.send(OpusStream(7, 111, identify=False).frame())
    assert driver.drops(DropReason.NO_ROUTE) == 1, "two tracks could be meant"


def test_rtx_before_any_media_of_its_layer_leads_nowhere() -> None:
    driver = Driver()
    peer = driver.connect()
    driver.video_track(peer, (b"q",))
    stream = Vp8Stream(5, 96, b"1", b"q", rtx_ssrc=6)
    [packet] = stream.key()
    peer.send(stream.retransmission(packet))
    assert driver.all_drops() == {"no_route": 1}


def test_a_new_ssrc_takes_the_layer_over() -> None:
    """A publisher that replaces its encoder: the receiver sees one stream, which goes on with the next keyframe."""
    driver = Driver()
    peer, receiver = driver.connect("p"), driver.connect("r")
    track, slot = driver.video_track(peer, (b"q",)), driver.video_slot(receiver)
    driver.bind(slot, track)
    old = Vp8Stream(5, 96, b"1", b"q", rtx_ssrc=6)
    frames = [old.key(), old.frame(), old.frame()]
    for frame in frames:
        driver.now_us += 33_000
        peer.send(*frame)
        driver.pump()
    new = Vp8Stream(15, 96, b"1", b"q", rtx_ssrc=16, sequence=60_000, timestamp=5, picture_id=9, tl0=200)
    driver.now_us += 33_000
    delta, key = new.frame(2), new.key(2)
    peer.send(*delta)
    driver.now_us += 33_000
    peer.send(*key)
    driver.pump()
    got = receiver.take_rtp()
    assert bodies(got) == bodies([*frames[0], *frames[1], *frames[2], *key])
    assert [p.sequence - got[0].sequence for p in got] == list(range(5))
    assert driver.drops(DropReason.AWAITING_KEYFRAME) == 2
    again = old.frame()
    for packet in again:
        peer.send(replace(packet, extensions=()))
    assert driver.drops(DropReason.NO_ROUTE) == 1, "the old SSRC is forgotten"
    driver.assert_accounts_balance()


def test_rtx_of_a_replaced_stream_is_forgotten_with_it() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer, (b"q",))
    old = Vp8Stream(5, 96, b"1", b"q", rtx_ssrc=6)
    first = old.key(2)
    peer.send(first[0], old.retransmission(first[1]))
    new = Vp8Stream(15, 96, b"1", b"q", rtx_ssrc=16)
    second = new.key(3)
    peer.send(second[0], second[2])
    late = replace(old.retransmission(first[1]), extensions=())
    peer.send(late, new.retransmission(second[1]))
    [layer] = driver.statistics().tracks[track].layers
    assert (layer.packets, layer.recovered) == (3, 1)
    assert driver.drops(DropReason.NO_ROUTE) == 1


def test_an_encoder_that_begins_anew_under_its_ssrc() -> None:
    """A jump beyond RFC 3550's MAX_DROPOUT counts as a restart once a second packet confirms it."""
    driver = Driver()
    peer, receiver = driver.connect("p"), driver.connect("r")
    track, slot = driver.video_track(peer), driver.video_slot(receiver)
    driver.bind(slot, track)
    stream = Vp8Stream(5, 96)
    first = [stream.key(), stream.frame()]
    for frame in first:
        driver.now_us += 33_000
        peer.send(*frame)
    driver.pump()
    stream.sequence = (stream.sequence + 20_000) & 0xFFFF
    stream.timestamp += 1_000_000
    driver.now_us += 33_000
    peer.send(*stream.key(2), *stream.frame())
    driver.now_us += 33_000
    key = stream.key(2)
    peer.send(*key)
    driver.pump()
    got = receiver.take_rtp()
    assert bodies(got) == bodies([*first[0], *first[1], *key])
    assert [p.sequence - got[0].sequence for p in got] == list(range(4))
    assert driver.drops(DropReason.TOO_OLD) == 1, "the packet of the unconfirmed jump"
    assert driver.statistics().tracks[track].layers[0].lost == 0


def test_a_single_wild_sequence_number_changes_nothing() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer)
    stream = Vp8Stream(5, 96)
    peer.send(*stream.key(), *stream.frame())
    [wild] = replace(stream, sequence=40_000).frame()
    peer.send(wild, *stream.frame())
    assert driver.drops(DropReason.TOO_OLD) == 1
    [layer] = driver.statistics().tracks[track].layers
    assert (layer.packets, layer.lost) == (3, 0)


def test_the_number_of_ssrcs_is_bounded() -> None:
    driver = Driver()
    peer = driver.connect()
    for number in range(70):
        driver.audio_track(peer, mid=b"m%d" % number)
        peer.send(OpusStream(100 + number, 111, mid=b"m%d" % number).frame())
    assert driver.drops(DropReason.TOO_MANY_SSRCS) == 70 - 64


def test_a_changing_ssrc_takes_no_place_twice() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer, (b"q",))
    for number in range(200):
        stream = Vp8Stream(100 + number, 96, b"1", b"q", rtx_ssrc=1_000 + number)
        frame = stream.key(3)
        peer.send(frame[0], frame[2], stream.retransmission(frame[1]))
    assert driver.drops(DropReason.TOO_MANY_SSRCS) == 0
    assert layer_packets(driver, track) == [3]


def test_layers_fall_silent_and_come_back() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer, (b"q", b"h"))
    cameras = Simulcast.of((b"q", b"h"))
    peer.send(*cameras.frames(key=(0, 1)))
    assert driver.take_events(TrackLayers) == [TrackLayers(track, 0b11)]
    for _ in range(20):
        driver.advance(100_000)
        peer.send(*cameras.layers[0].frame())
    assert driver.take_events(TrackLayers) == [TrackLayers(track, 0b01)]
    peer.send(cameras.layers[1].padding_only())
    assert driver.take_events(TrackLayers) == [], "padding is a probe, not a layer"
    peer.send(*cameras.layers[1].frame())
    assert driver.take_events(TrackLayers) == [TrackLayers(track, 0b11)]


def test_opus_is_named_by_its_mid() -> None:
    driver = Driver()
    peer = driver.connect()
    tracks = [driver.audio_track(peer, mid, [OPUS]) for mid in (b"a", b"b")]
    peer.send(OpusStream(1, 111, mid=b"b").frame())
    assert [layer_packets(driver, track) for track in tracks] == [[0], [1]]


def test_a_replaced_streams_last_packets_do_not_bring_it_back() -> None:
    driver = Driver()
    peer = driver.connect()
    track = driver.video_track(peer, (b"q",))
    old = Vp8Stream(5, 96, b"1", b"q", rtx_ssrc=6, sequence=400)
    peer.send(*old.key(2), *old.frame(2))
    late = old.frame(3)
    new = Vp8Stream(15, 96, b"1", b"q", rtx_ssrc=16, sequence=450)
    peer.send(*new.key(3), late[0], old.retransmission(late[1]), *new.frame(2))
    [layer] = driver.statistics().tracks[track].layers
    assert (layer.packets, layer.keyframes) == (5, 1)
    assert driver.drops(DropReason.TOO_OLD) == 2
    driver.advance(3 * SECOND_US, SECOND_US)
    peer.send(*late[2:])
    [layer] = driver.statistics().tracks[track].layers
    assert layer.packets == 1, "long after, it is a stream that begins"
