# SPDX-License-Identifier: Apache-2.0
"""What a peer may send is limited: who floods harms only their own streams."""

from sfu.engine.drops import DropReason
from tests.engine.media import OpusStream
from tests.engine.router_driver import Driver

LIMIT_BPS = 1_000_000
BURST_S = 0.5
STEP_US = 1_000
SECONDS = 4
FLOOD = 10  # packets a millisecond
AUDIO_US = 20_000
IP_UDP_BYTES = 28


def test_a_flooding_publisher_is_cut_to_the_limit_and_an_honest_one_loses_nothing() -> None:
    driver = Driver(inbound_limit_bps=LIMIT_BPS)
    flooder, honest, receiver = (driver.connect(name) for name in ("flooder", "honest", "receiver"))
    flood, voice = OpusStream(1, 111), OpusStream(2, 111)
    flood_track, voice_track = driver.audio_track(flooder), driver.audio_track(honest)
    slots = [driver.audio_slot(receiver, mid=mid, ssrc=ssrc) for mid, ssrc in ((b"a0", 0x2000), (b"a1", 0x2001))]
    for slot, track in zip(slots, (flood_track, voice_track), strict=True):
        driver.bind(slot, track)
    sent = spoken = 0
    began = driver.statistics()
    for step in range(SECONDS * 1_000_000 // STEP_US):
        driver.now_us += STEP_US
        flooder.send(*(flood.frame() for _ in range(FLOOD)))
        sent += FLOOD
        if step * STEP_US % AUDIO_US == 0:
            honest.send(voice.frame())
            spoken += 1
        driver.pump()
    after = driver.statistics()
    dropped = driver.drops(DropReason.INBOUND_RATE)
    [layer] = after.tracks[flood_track].layers
    received = after.transports[flooder.handle].bytes_received - began.transports[flooder.handle].bytes_received
    mean_bits = (received / sent + IP_UDP_BYTES) * 8
    assert layer.packets + dropped == sent, "each is counted, under one name"
    allowed = LIMIT_BPS * (SECONDS + BURST_S) / mean_bits
    assert 0.98 * allowed <= sent - dropped <= 1.02 * allowed
    assert after.tracks[voice_track].layers[0].packets == spoken
    assert after.forwarders[slots[1]].packets == spoken


def test_a_burst_within_the_allowance_passes_whole_and_no_limit_is_no_limit() -> None:
    for limit_bps in (LIMIT_BPS, 0):
        driver = Driver(inbound_limit_bps=limit_bps)
        peer = driver.connect()
        driver.audio_track(peer)
        stream = OpusStream(1, 111)
        count = 200 if limit_bps else 5_000
        for _ in range(count):
            peer.send(stream.frame())
        assert driver.drops(DropReason.INBOUND_RATE) == 0
        assert sum(layer.packets for track in driver.statistics().tracks.values() for layer in track.layers) == count
