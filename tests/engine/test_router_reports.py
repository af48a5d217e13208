# SPDX-License-Identifier: Apache-2.0
"""Reports: to publishers what RFC 3550 says of their streams, to receivers the server's clock."""

from __future__ import annotations

import pytest

from tests.engine.media import AUDIO_TICKS, FRAME_TICKS, OpusStream, Vp8Stream
from tests.engine.router_driver import UNIX_OFFSET_US, Driver, Peer
from tests.simulation import rtcp_packets as rtcp

NTP_UNIX_SECONDS = 2_208_988_800
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
FRAME_US = 33_333


def ntp_of(us_since_1900: int) -> int:
    return (us_since_1900 // SECOND_US << 32) + (us_since_1900 % SECOND_US << 32) // SECOND_US


def unix_us_of(ntp: int) -> float:
    return ((ntp >> 32) - NTP_UNIX_SECONDS) * 1e6 + (ntp & 0xFFFFFFFF) * 1e6 / (1 << 32)


def reports(peer: Peer) -> list[tuple[int, rtcp.SenderReport]]:
    """(time of arrival, report), in order."""
    found = []
    for delivery in peer.rtcp_deliveries:
        packets = list(rtcp.parse_rtcp(delivery.data))
        found += [(delivery.at_us, rtcp.parse_sender_report(p)) for p in packets if p.packet_type == rtcp.SR]
        if packets[0].packet_type == rtcp.SR:
            assert [p.packet_type for p in packets] == [rtcp.SR, rtcp.SDES], "a compound (RFC 3550 §6.1)"
    peer.rtcp_deliveries.clear()
    return found


def blocks(peer: Peer) -> list[rtcp.ReportBlock]:
    return [b for p in peer.take_rtcp() if p.packet_type == rtcp.RR for b in rtcp.parse_report_blocks(p)]


class Publisher:
    """One camera and one microphone with a clock of their own."""

    def __init__(self, driver: Driver, name: str, clock_us: int, ssrc: int) -> None:
        self.driver, self.peer, self.clock_us = driver, driver.connect(name), clock_us
        self.video_track = driver.video_track(self.peer, mid=b"1")
        self.audio_track = driver.audio_track(self.peer, mid=b"0")
        self.video = Vp8Stream(ssrc, 96, b"1", timestamp=ssrc * 7)
        self.audio = OpusStream(ssrc + 1, 111, timestamp=ssrc * 3)
        self.base_us = driver.now_us

    def send_reports(self) -> None:
        """Both streams' reports with the present moment of its clock."""
        elapsed_us = self.driver.now_us - self.base_us
        ntp = ntp_of(NTP_UNIX_SECONDS * SECOND_US + UNIX_OFFSET_US + self.driver.now_us + self.clock_us)
        for ssrc, base, rate in (
            (self.video.ssrc, self.video.ssrc * 7, 90_000),
            (self.audio.ssrc, self.video.ssrc * 3, 48_000),
        ):
            timestamp = (base + elapsed_us * rate // SECOND_US) & 0xFFFFFFFF
            report = rtcp.SenderReport(ssrc, ntp, timestamp, 1, 1)
            self.peer.send_rtcp(rtcp.build_sender_report(report) + rtcp.build_sdes_cname(ssrc, b"x"))

    def capture(self, *, key: bool, video_us: int) -> None:
        """A video frame of the present moment."""
        self.video.timestamp = (self.video.ssrc * 7 + video_us * 90_000 // SECOND_US - FRAME_TICKS) & 0xFFFFFFFF
        self.peer.send(*self.video.frame(key=key))

    def speak(self, audio_us: int) -> None:
        self.audio.timestamp = (self.video.ssrc * 3 + audio_us * 48_000 // SECOND_US - AUDIO_TICKS) & 0xFFFFFFFF
        self.peer.send(self.audio.frame())


def run(publishers: list[Publisher], duration_us: int, *, key_at: tuple[int, ...] = (), report: bool = True) -> None:
    """All publishers send in step with the driver's clock; frame numbers in `key_at` are keyframes."""
    driver = publishers[0].driver
    until_us = driver.now_us + duration_us
    frame = 0
    next_video = next_audio = driver.now_us
    next_report = driver.now_us + 200_000
    while driver.now_us < until_us:
        driver.now_us += 1_000
        if driver.now_us >= next_video:
            for publisher in publishers:
                publisher.capture(key=frame in key_at, video_us=driver.now_us - publisher.base_us)
            frame += 1
            next_video += FRAME_US
        if driver.now_us >= next_audio:
            for publisher in publishers:
                publisher.speak(driver.now_us - publisher.base_us)
            next_audio += 20_000
        if report and driver.now_us >= next_report:
            for publisher in publishers:
                publisher.send_reports()
            next_report += SECOND_US
        driver.pump()


@pytest.mark.parametrize("clock_us", [0, HOUR_US, -HOUR_US, 1_500_000])
def test_sender_reports_are_in_the_servers_clock(clock_us: int) -> None:
    driver = Driver()
    receiver = driver.connect("r")
    publisher = Publisher(driver, "p", clock_us, 10)
    video, audio = driver.video_slot(receiver, 0x1000), driver.audio_slot(receiver, 0x2000)
    driver.bind(video, publisher.video_track)
    driver.bind(audio, publisher.audio_track)
    run([publisher], 4 * SECOND_US, key_at=(0,))
    found = reports(receiver)
    assert {report.ssrc for _, report in found} == {0x1000, 0x2000}
    for at_us, report in found:
        assert abs(unix_us_of(report.ntp) - UNIX_OFFSET_US - at_us) <= 2, "its own clock, at the very moment"
    # At one moment of the server's clock both media stand at one moment of the publisher's.
    for ssrc, rate, sent in ((0x1000, 90_000, receiver.rtp), (0x2000, 48_000, receiver.rtp)):
        own = [report for _, report in found if report.ssrc == ssrc]
        newest = [p for p in sent if p.ssrc == ssrc][-1]
        age = (own[-1].rtp_timestamp - newest.timestamp) & 0xFFFFFFFF
        age = age - (1 << 32) if age >> 31 else age
        arrived = [d.at_us for d in receiver.rtp_deliveries if d.data[8:12] == ssrc.to_bytes(4, "big")][-1]
        expected = (unix_us_of(own[-1].ntp) - UNIX_OFFSET_US - arrived) * rate / 1e6
        assert abs(age - expected) <= rate * 0.002, "captured as it was sent: no delay in this test"


def test_two_publishers_whose_clocks_differ_are_in_step_after_a_rebind() -> None:
    driver = Driver()
    receiver = driver.connect("r")
    publishers = [Publisher(driver, "a", 0, 10), Publisher(driver, "b", HOUR_US, 40)]
    video, audio = driver.video_slot(receiver, 0x1000), driver.audio_slot(receiver, 0x2000)
    for number, publisher in enumerate(publishers):
        driver.bind(video, publisher.video_track, 100 + number, number)
        driver.bind(audio, publisher.audio_track, 200 + number, number)
        run(publishers, 3 * SECOND_US, key_at=(0,))
    found = reports(receiver)
    for ssrc, rate in ((0x1000, 90_000), (0x2000, 48_000)):
        own = [report for _, report in found if report.ssrc == ssrc]
        drift = []
        for report in own:
            elapsed_us = unix_us_of(report.ntp) - unix_us_of(own[0].ntp)
            ticks = (report.rtp_timestamp - own[0].rtp_timestamp) & 0xFFFFFFFF
            drift.append((ticks - elapsed_us * rate / 1e6) / rate * 1e3)
        assert max(map(abs, drift)) <= 25, "one timeline: an audio bind moves by whole frames, at most half of one off"


def test_reports_come_with_the_start_and_soon_after_it() -> None:
    driver = Driver()
    receiver = driver.connect("r")
    publisher = Publisher(driver, "p", 0, 10)
    driver.bind(driver.video_slot(receiver, 0x1000), publisher.video_track)
    run([publisher], 100_000)
    assert reports(receiver) == [], "nothing was sent yet"
    run([publisher], 3 * SECOND_US, key_at=(1,))
    first_us = receiver.rtp_deliveries[0].at_us
    after = [at_us - first_us for at_us, _ in reports(receiver)]
    for found, wanted in zip(after, (0, 100_000, 300_000, 1_300_000, 2_300_000), strict=False):
        assert abs(found - wanted) <= 2_000, after


def test_reports_count_what_was_sent() -> None:
    driver = Driver()
    receiver = driver.connect("r")
    publisher = Publisher(driver, "p", 0, 10)
    driver.bind(driver.video_slot(receiver, 0x1000), publisher.video_track)
    run([publisher], 5 * SECOND_US, key_at=(0,))
    at_us, report = reports(receiver)[-1]
    before = [d for d in receiver.rtp_deliveries if d.at_us <= at_us]
    sizes = [len(packet.payload) for packet in receiver.rtp[: len(before)]]
    assert abs(report.packet_count - len(before)) <= 1
    assert abs(report.octet_count - sum(sizes)) <= max(sizes)


def test_a_receiver_without_media_gets_no_report() -> None:
    driver = Driver()
    receiver = driver.connect("r")
    driver.video_slot(receiver)
    driver.advance(3 * SECOND_US)
    assert receiver.rtcp_deliveries == []


def exact_interval(driver: Driver, peer: Peer, stream: Vp8Stream, lost: set[int], packets: int) -> rtcp.ReportBlock:
    """Just so many packets between two reports."""
    for number, packet in enumerate(stream.frame(packets)):
        if number not in lost:
            peer.send(packet)
    driver.now_us += 1_100_000
    driver.pump()
    [block] = blocks(peer)
    return block


def test_receiver_reports_say_what_was_lost() -> None:
    driver = Driver()
    peer = driver.connect("p")
    driver.video_track(peer)
    stream = Vp8Stream(5, 96, sequence=65_400)
    total = 0
    for lost in ((), (3,), tuple(range(20, 45)), (), tuple(range(1, 49))):
        block = exact_interval(driver, peer, stream, set(lost), 50)
        total += len(lost)
        assert block.cumulative_lost == total
        assert block.fraction_lost == len(lost) * 256 // 50
    assert block.highest_sequence == (1 << 16) + stream.sequence - 1, "with one roll-over"


def test_the_fraction_lost_is_that_of_one_interval() -> None:
    driver = Driver()
    peer = driver.connect("p")
    driver.video_track(peer)
    stream = Vp8Stream(5, 96)
    assert exact_interval(driver, peer, stream, set(), 10).fraction_lost == 0
    block = exact_interval(driver, peer, stream, {1, 2, 5}, 10)
    assert (block.fraction_lost, block.cumulative_lost) == (3 * 256 // 10, 3)
    block = exact_interval(driver, peer, stream, set(), 10)
    assert (block.fraction_lost, block.cumulative_lost) == (0, 3)
    block = exact_interval(driver, peer, stream, set(range(99)), 100)
    assert (block.fraction_lost, block.cumulative_lost) == (99 * 256 // 100, 102)


def test_a_retransmission_does_not_undo_a_loss() -> None:
    """It came under another SSRC: the publisher is told how its stream fared on the network."""
    driver = Driver()
    peer = driver.connect("p")
    track = driver.video_track(peer)
    stream = Vp8Stream(5, 96, rtx_ssrc=6)
    exact_interval(driver, peer, stream, set(), 10)
    packets = stream.frame(10)
    peer.send(*packets[:3], *packets[5:])
    driver.now_us += 20_000
    peer.send(stream.retransmission(packets[3]), stream.retransmission(packets[4]))
    driver.now_us += 1_100_000
    driver.pump()
    [block] = blocks(peer)
    assert (block.fraction_lost, block.cumulative_lost) == (2 * 256 // 10, 2)
    layer = driver.statistics().tracks[track].layers[0]
    assert (layer.lost, layer.recovered) == (0, 2), "nothing is missing any more"


def test_reordered_and_repeated_packets_are_no_loss() -> None:
    driver = Driver()
    peer = driver.connect("p")
    driver.video_track(peer)
    stream = Vp8Stream(5, 96)
    packets = stream.key(20)
    driver.random.shuffle(packets)
    peer.send(*packets)
    driver.now_us += SECOND_US
    driver.pump()
    [block] = blocks(peer)
    assert (block.fraction_lost, block.cumulative_lost) == (0, 0)
    assert block.highest_sequence == max(p.sequence for p in packets)


def test_jitter_is_that_of_rfc_3550() -> None:
    driver = Driver(seed=4)
    peer = driver.connect("p")
    driver.audio_track(peer)
    stream = OpusStream(5, 111)
    jitter, transit = 0.0, None
    for _ in range(120):
        driver.now_us += 20_000
        late = driver.random.randrange(15_000)
        driver.now_us += late
        packet = stream.frame()
        peer.send(packet)
        now = driver.now_us * 48 / 1_000 - packet.timestamp
        if transit is not None:
            jitter += (abs(now - transit) - jitter) / 16
        transit = now
        driver.now_us -= late
    driver.now_us += 20_000
    driver.pump()
    [block] = blocks(peer)[-1:]
    assert abs(block.jitter - jitter) <= 2
    assert jitter > 100


def test_last_report_and_delay() -> None:
    driver = Driver()
    peer = driver.connect("p")
    driver.video_track(peer)
    stream = Vp8Stream(5, 96)
    block = exact_interval(driver, peer, stream, set(), 3)
    assert (block.last_sr, block.delay_since_last_sr) == (0, 0)
    ntp = 0x1234_5678_9ABC_DEF0
    peer.send_rtcp(rtcp.build_sender_report(rtcp.SenderReport(5, ntp, 7, 1, 1)))
    block = exact_interval(driver, peer, stream, set(), 3)
    assert block.last_sr == 0x5678_9ABC
    assert abs(block.delay_since_last_sr - 1.1 * 65_536) <= 1


def test_each_source_has_its_block_while_it_sends() -> None:
    driver = Driver()
    publisher = Publisher(driver, "p", 0, 10)
    run([publisher], 2_500_000)
    assert {b.ssrc for b in blocks(publisher.peer)} == {10, 11}
    driver.advance(5 * SECOND_US, 50_000)
    blocks(publisher.peer)
    driver.advance(3 * SECOND_US, 50_000)
    assert blocks(publisher.peer) == []


def test_round_trip_times_come_from_receiver_reports() -> None:
    driver = Driver()
    receiver = driver.connect("r")
    publisher = Publisher(driver, "p", 0, 10)
    slot = driver.video_slot(receiver, 0x1000)
    driver.bind(slot, publisher.video_track)
    run([publisher], 500_000, key_at=(0,))
    assert driver.statistics().transports[receiver.handle].rtt_ms is None
    at_us, report = reports(receiver)[-1]
    held_us = 40_000
    driver.now_us = at_us + held_us + 120_000
    block = rtcp.ReportBlock(0x1000, 64, 7, 100, 5, (report.ntp >> 16) & 0xFFFFFFFF, held_us * 65_536 // SECOND_US)
    receiver.send_rtcp(rtcp.build_receiver_report(1, [block]))
    statistics = driver.statistics()
    assert statistics.transports[receiver.handle].rtt_ms == pytest.approx(120, abs=0.1)
    assert statistics.forwarders[slot].fraction_lost == 0.25
    wild = rtcp.ReportBlock(0x1000, last_sr=(report.ntp >> 16) & 0xFFFFFFFF, delay_since_last_sr=1 << 30)
    receiver.send_rtcp(rtcp.build_receiver_report(1, [wild]))
    assert driver.statistics().transports[receiver.handle].rtt_ms == pytest.approx(120, abs=0.1)
