# SPDX-License-Identifier: Apache-2.0
"""Feedback: transport-cc to publishers, keyframe requests on their way from receivers to publishers, REMB, BYE."""

import itertools

from tests.engine.media import OpusStream, Simulcast, Vp8Stream
from tests.engine.router_driver import LOCAL, VP8, Driver, Peer
from tests.reference.transport_cc import read_feedback
from tests.simulation import rtcp_packets as rtcp
from tests.simulation.rtp_packets import build_rtp

FRAME_US = 33_333
KEYFRAME_SPACING_US = 1_000_000
KEYFRAME_REPEAT_US = 500_000
FEEDBACK_INTERVAL_US = 50_000


def plis(peer: Peer) -> list[int]:
    return [rtcp.feedback_ssrcs(p)[1] for p in peer.take_feedback(rtcp.PSFB, rtcp.PLI_FORMAT)]


def test_transport_cc_feedback_tells_each_packets_arrival() -> None:
    driver = Driver()
    peer = driver.connect("p")
    driver.audio_track(peer)
    stream = OpusStream(5, 111, transport_sequence=65_520)
    arrivals: dict[int, int] = {}
    for number in range(200):
        driver.now_us += 3_000 + driver.random.randrange(4_000)
        packet = stream.frame()
        sequence = 65_520 + number
        if number % 17:
            peer.send(packet)
            arrivals[sequence] = driver.now_us
        driver.pump()
    driver.advance(100_000)
    reported: dict[int, int] = {}
    counts = []
    for message in [p for d in peer.rtcp_deliveries for p in split(d.data)]:
        feedback, count = read_feedback(message)
        counts.append(count)
        assert feedback.media == 5
        for sequence, arrival in feedback.arrivals:
            if arrival is not None:
                reported[65_520 + ((sequence - 65_520) & 0xFFFF)] = arrival
    assert reported.keys() == arrivals.keys()
    offset = next(iter(arrivals.values())) - next(iter(reported.values()))
    assert all(abs(reported[s] + offset - arrivals[s]) <= 250 for s in arrivals)
    assert counts == [n & 0xFF for n in range(len(counts))]
    assert len(counts) >= 200 * 5_000 // FEEDBACK_INTERVAL_US // 2


def test_feedback_tells_when_the_kernel_had_a_packet() -> None:
    """A worker that comes late finds a probe's packets all at once: they did not arrive at once."""
    driver = Driver()
    peer = driver.connect("p")
    stream = OpusStream(5, 111, transport_sequence=10)
    sent = [build_rtp(stream.frame()) for _ in range(5)]
    arrivals = [driver.now_us + 3_000 * number for number in range(5)]
    driver.advance(40_000)
    for packet, arrival_us in zip(sent, arrivals, strict=True):
        waited_us = driver.now_us - arrival_us
        driver.router.receive(peer.protect.protect(packet), peer.address, LOCAL, driver.now_us, waited_us)
    driver.advance(100_000)
    (message,) = [p for d in peer.rtcp_deliveries for p in split(d.data)]
    reported = [arrival for _, arrival in read_feedback(message)[0].arrivals if arrival is not None]
    assert [one - reported[0] for one in reported] == [3_000 * number for number in range(5)]


def split(compound: bytes) -> list[bytes]:
    """The transport-cc packets of a compound, whole."""
    found, at = [], 0
    while at < len(compound):
        size = 4 * (1 + int.from_bytes(compound[at + 2 : at + 4], "big"))
        if compound[at + 1] == rtcp.RTPFB and compound[at] & 0x1F == rtcp.TRANSPORT_CC_FORMAT:
            found.append(compound[at : at + size])
        at += size
    return found


def test_packets_that_lead_nowhere_are_in_the_feedback_too() -> None:
    """Probing packets and unknown SSRCs use the link as well."""
    driver = Driver()
    peer = driver.connect("p")
    peer.send(OpusStream(5, 111, transport_sequence=10).frame())
    driver.advance(100_000)
    assert [read_feedback(p)[0].base for d in peer.rtcp_deliveries for p in split(d.data)] == [10]


def test_no_feedback_without_the_extension() -> None:
    driver = Driver()
    peer = driver.connect("p")
    driver.audio_track(peer)
    peer.send(OpusStream(5, 111).frame())
    driver.advance(400_000)
    assert peer.take_feedback(rtcp.RTPFB, rtcp.TRANSPORT_CC_FORMAT) == []


class Audience:
    """One publisher with two layers, many receivers."""

    def __init__(self, receivers: int, pli: bool = True) -> None:
        self.driver = Driver()
        self.publisher = self.driver.connect("p")
        self.track = self.driver.video_track(self.publisher, (b"q", b"h"), payloads=(VP8._replace(pli=pli),))
        self.receivers = [self.driver.connect(f"r{n}") for n in range(receivers)]
        self.slots = [self.driver.video_slot(peer) for peer in self.receivers]
        for slot in self.slots:
            self.driver.bind(slot, self.track, spatial=1)
        self.cameras = Simulcast.of((b"q", b"h"))
        self.low, self.high = (layer.ssrc for layer in self.cameras.layers)

    def frame(self, *key: int) -> None:
        self.driver.advance(FRAME_US)
        self.publisher.send(*self.cameras.frames(key))
        self.driver.pump()

    def start(self) -> None:
        self.frame(0, 1)
        for _ in range(20):
            self.frame()
        plis(self.publisher)

    def requests(self) -> list[tuple[int, int]]:
        """The publisher's PLIs since the last time: when they came, for which SSRC."""
        taken, self.publisher.rtcp_deliveries = self.publisher.rtcp_deliveries, []
        return [
            (delivery.at_us, rtcp.feedback_ssrcs(packet)[1])
            for delivery in taken
            for packet in rtcp.parse_rtcp(delivery.data)
            if (packet.packet_type, packet.count) == (rtcp.PSFB, rtcp.PLI_FORMAT)
        ]

    def ask(self, receiver: int) -> None:
        self.receivers[receiver].send_rtcp(rtcp.build_pli(1, 0x1000))


def test_requests_of_many_receivers_become_one() -> None:
    room = Audience(20)
    room.start()
    for receiver in range(20):
        room.ask(receiver)
        room.driver.advance(1_000, 1_000)
    assert plis(room.publisher) == [room.high]
    assert room.driver.statistics().keyframes_asked >= 1
    assert all(f.keyframe_requests == 1 for f in room.driver.statistics().forwarders.values())


def test_requests_are_spaced_and_repeated_until_a_keyframe_comes() -> None:
    room = Audience(1)
    room.start()
    room.ask(0)
    asked_us = []
    for _ in range(60):
        room.frame()
        asked_us += [room.driver.now_us] * len(plis(room.publisher))
    assert len(asked_us) == 4
    spaces = [b - a for a, b in itertools.pairwise(asked_us)]
    assert all(abs(space - KEYFRAME_REPEAT_US) <= 2 * FRAME_US for space in spaces), "seen at the next frame only"
    room.frame(1)
    plis(room.publisher)
    for _ in range(30):
        room.frame()
    assert plis(room.publisher) == []


def test_a_storm_of_joins_costs_one_keyframe_a_second_and_all_are_served() -> None:
    """A hundred receivers within 3 s, at 30 frames a second; the publisher answers each request a frame later."""
    room = Audience(100)
    for slot in room.slots:
        room.driver.commands.unbind(slot)
    room.driver.flush()
    room.start()
    asked_us: list[int] = []
    key: tuple[int, ...] = ()
    first_join_us = room.driver.now_us
    for number in range(160):
        for slot in room.slots[number * 100 // 90 : (number + 1) * 100 // 90]:
            room.driver.bind(slot, room.track, spatial=1, generation=2)
        room.frame(*key)
        requests = room.requests()
        key = tuple(sorted({(room.low, room.high).index(ssrc) for _, ssrc in requests}))
        asked_us += [at_us for at_us, ssrc in requests if ssrc == room.high]
    assert asked_us[0] - first_join_us <= 2 * FRAME_US, "the first is asked for at once"
    spaces = [b - a for a, b in itertools.pairwise(asked_us)]
    assert min(spaces) >= KEYFRAME_SPACING_US
    assert len(asked_us) <= 5
    assert all(peer.take_rtp() for peer in room.receivers), "nobody was left without a picture"


def test_a_lost_request_is_repeated_sooner_than_an_answered_one() -> None:
    room = Audience(1)
    room.start()
    room.ask(0)
    room.driver.pump()
    assert plis(room.publisher) == [room.high], "this one is lost"
    asked_us = room.driver.now_us
    while not (heard := plis(room.publisher)):
        room.frame()
    assert heard == [room.high]
    assert KEYFRAME_REPEAT_US <= room.driver.now_us - asked_us <= KEYFRAME_REPEAT_US + 4 * FRAME_US
    room.frame(1)
    for _ in range(40):
        room.frame()
    assert plis(room.publisher) == []


def test_the_spacing_is_each_layers_own() -> None:
    room = Audience(2)
    room.start()
    room.ask(0)
    room.driver.target(room.slots[1], 0)
    room.driver.pump()
    assert sorted(plis(room.publisher)) == sorted([room.low, room.high])


def test_a_request_within_the_spacing_is_kept() -> None:
    room = Audience(1)
    room.start()
    room.ask(0)
    room.frame(1)
    assert plis(room.publisher) == [room.high]
    room.ask(0)
    room.driver.pump()
    assert plis(room.publisher) == [], "too soon"
    for _ in range(32):
        room.frame()
    assert plis(room.publisher)[:1] == [room.high]


def test_the_layer_that_flows_is_asked_and_the_one_that_is_wanted() -> None:
    room = Audience(1)
    room.start()
    room.driver.target(room.slots[0], 0)
    room.ask(0)
    room.driver.pump()
    assert sorted(plis(room.publisher)) == sorted([room.low, room.high])


def test_fir_is_heard_and_sent_where_pli_was_not_negotiated() -> None:
    room = Audience(1, pli=False)
    room.start()
    room.publisher.take_rtcp()
    commands = []
    for command in range(3):
        room.receivers[0].send_rtcp(rtcp.build_fir(1, 0x1000, command))
        room.driver.advance(KEYFRAME_SPACING_US, 5_000)
        room.frame(1)
        for packet in room.publisher.take_feedback(rtcp.PSFB, rtcp.FIR_FORMAT):
            commands += rtcp.fir_entries(packet)
    assert {ssrc for ssrc, _ in commands} == {room.high}
    numbers = [number for _, number in commands]
    assert len(numbers) >= 3
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "each is a new request (RFC 5104 §4.3.1)"


def test_requests_for_streams_that_do_not_flow_reach_nobody() -> None:
    driver = Driver()
    publisher, receiver = driver.connect("p"), driver.connect("r")
    track = driver.video_track(publisher)
    slot = driver.video_slot(receiver)
    receiver.send_rtcp(rtcp.build_pli(1, 0x1000))
    receiver.send_rtcp(rtcp.build_pli(1, 0x9999))
    driver.bind(slot, track)
    receiver.send_rtcp(rtcp.build_pli(1, 0x1000))
    driver.pump()
    assert plis(publisher) == []
    assert driver.statistics().forwarders[slot].keyframe_requests == 2


def test_python_may_ask_for_a_keyframe() -> None:
    driver = Driver()
    publisher = driver.connect("p")
    track = driver.video_track(publisher, (b"q", b"h"))
    cameras = Simulcast.of((b"q", b"h"))
    for layer in (0, 1, 2, 3, 99, -1):
        driver.commands.request_keyframe(track, layer)
    driver.flush()
    publisher.send(*cameras.frames())
    driver.pump()
    assert plis(publisher) == [], "no layer was there to ask"
    driver.commands.request_keyframe(track, 1)
    driver.flush()
    driver.pump()
    assert plis(publisher) == [cameras.layers[1].ssrc]


def test_remb_is_noted() -> None:
    driver = Driver()
    peer = driver.connect("r")
    exponent, mantissa = 4, 150_000
    entry = bytes([1, exponent << 2 | mantissa >> 16]) + (mantissa & 0xFFFF).to_bytes(2, "big") + bytes(4)
    body = bytes(8) + b"REMB" + entry
    peer.send_rtcp(bytes([0x80 | 15, rtcp.PSFB]) + (len(body) // 4).to_bytes(2, "big") + body)
    assert driver.statistics().transports[peer.handle].remb_bps == mantissa << exponent


def test_a_stream_that_says_bye_is_not_live_any_more() -> None:
    driver = Driver()
    peer = driver.connect("p")
    track = driver.video_track(peer)
    stream = Vp8Stream(5, 96)
    peer.send(*stream.key())
    assert driver.statistics().tracks[track].layers[0].active
    peer.send_rtcp(rtcp.build_receiver_report(1) + rtcp.build_bye([99, 5]))
    assert not driver.statistics().tracks[track].layers[0].active


def test_unknown_rtcp_is_skipped_and_broken_rtcp_counted() -> None:
    driver = Driver()
    peer = driver.connect("p")
    unknown = bytes([0x80, 207, 0, 1]) + bytes(4) + bytes([0x80, 204, 0, 2]) + bytes(8)
    peer.send_rtcp(rtcp.build_receiver_report(1) + unknown)
    statistics = driver.statistics()
    assert (statistics.rtcp_received, driver.all_drops()) == (1, {})
    peer.send_rtcp(rtcp.build_receiver_report(1) + bytes([0x80, 201, 0, 9]) + bytes(4))
    assert (driver.statistics().rtcp_received, driver.all_drops()) == (1, {"malformed": 1})
    data = bytearray(peer.protect.protect_rtcp(rtcp.build_receiver_report(1)))
    data[9] ^= 1
    peer.datagram(bytes(data))
    assert driver.all_drops() == {"malformed": 1, "bad_auth": 1}
