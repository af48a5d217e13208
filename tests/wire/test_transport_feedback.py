# SPDX-License-Identifier: Apache-2.0
"""Transport-wide feedback: against the plain twin, in round trips, in parts, and by hand-made packets."""

import random
from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from sfu.wire.rtcp_messages import TransportFeedback
from sfu.wire.rtcp_packets import parse_compound, parse_feedback, serialize, write_transport_feedback
from tests.reference import wire_rtcp as twin
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]
PAUSE_MAX_US = 7_000_000  # a delta says up to 8.19 s
MAX_US = 2**23 * 64000 - 1  # beyond it the 24-bit reference time wraps round

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[int | None, ...]:
    """Stretches as links make them: in order, bursts, losses, reordering, pauses; the last one received."""
    now_us = draw(st.integers(9_000_000, MAX_US // 2))
    last_us = now_us
    times: list[int | None] = []
    for _ in range(draw(st.integers(1, 6))):
        count = draw(st.integers(1, 40))
        step = draw(st.sampled_from((0, 250, 5000, 63750, 64000, 500_000, -1000)))
        lost = draw(st.sampled_from((0.0, 0.0, 0.2, 1.0)))
        noise = random.Random(draw(st.integers(0, 2**20)))
        for _ in range(count):
            now_us += step + noise.randrange(300)
            told = noise.random() >= lost or abs(now_us - last_us) > PAUSE_MAX_US
            last_us = now_us if told else last_us
            times.append(now_us if told else None)
    return (*times, now_us)


feedback = st.builds(
    TransportFeedback,
    sender=u32,
    media=u32,
    base_sequence=u16,
    feedback_count=st.integers(0, 255),
    arrivals_us=arrivals(),
)


def on_the_wire(packet: TransportFeedback) -> TransportFeedback:
    """With the times that 250 µs can say."""
    times = [None if time is None else time // 250 * 250 for time in packet.arrivals_us]
    return TransportFeedback(packet.sender, packet.media, packet.base_sequence, packet.feedback_count, tuple(times))


def test_writer_agrees_with_twin_and_comes_back(for_all: ForAll) -> None:
    def check(packet: TransportFeedback) -> None:
        data = serialize(packet)
        assert data == twin.write_transport_cc(packet)
        assert parse_compound(data) == [on_the_wire(packet)]

    for_all(check, feedback)


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_compound, data) == outcome(twin.parse_compound, data)

    for_all(check, hostile(feedback.map(twin.write_transport_cc), prefix=bytes.fromhex("8fcd0008")))


@st.composite
def free_chunks(draw: st.DrawFn) -> bytes:
    """Any chunks, also those that our writer would not choose, with deltas for all or nearly all of them."""
    chunks = draw(st.lists(u16, min_size=1, max_size=8))
    symbols = [symbol for chunk in chunks for symbol in twin.chunk_symbols(chunk)]
    count = draw(st.integers(0, min(len(symbols), 0xFFFF)))
    size = sum(symbol for symbol in symbols[:count] if symbol < 3)
    deltas = draw(st.binary(min_size=min(size, 64), max_size=min(size, 64))) * (size // 64 + 1)
    body = bytes(8) + draw(u16).to_bytes(2, "big") + count.to_bytes(2, "big") + draw(st.binary(min_size=4, max_size=4))
    body += b"".join(chunk.to_bytes(2, "big") for chunk in chunks)
    return twin.write_packet(205, 15, body + deltas[: max(0, size - draw(st.sampled_from((0, 0, 1))))])


def test_any_chunks_agree_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_compound, data) == outcome(twin.parse_compound, data)

    for_all(check, free_chunks())


def test_reader_keeps_to_its_capacity(for_all: ForAll) -> None:
    def check(packet: TransportFeedback, capacity: int) -> None:
        parsed = parse_feedback(twin.write_transport_cc(packet), capacity)
        assert isinstance(parsed, TransportFeedback)
        assert parsed.arrivals_us == on_the_wire(packet).arrivals_us[:capacity]

    for_all(check, feedback, st.integers(0, 300))


def test_parts_make_the_whole(for_all: ForAll) -> None:
    """A writer with little room is called again from where it stopped; nothing is lost and nothing said twice."""

    def check(packet: TransportFeedback, capacity: int) -> None:
        rest = packet
        told: list[int | None] = []
        while any(time is not None for time in rest.arrivals_us):
            data, consumed = write_transport_feedback(rest, capacity)
            assert 0 < consumed <= len(rest.arrivals_us)
            assert len(data) <= capacity
            assert len(data) % 4 == 0
            [parsed] = parse_compound(data)
            assert isinstance(parsed, TransportFeedback)
            assert parsed.base_sequence == rest.base_sequence
            assert len(parsed.arrivals_us) == consumed
            told += parsed.arrivals_us
            base = (rest.base_sequence + consumed) % 65536
            rest = TransportFeedback(1, 2, base, 0, rest.arrivals_us[consumed:])
        assert [*told, *rest.arrivals_us] == list(on_the_wire(packet).arrivals_us)

    for_all(check, feedback, st.integers(120, 400))


def test_a_pause_beyond_a_delta_starts_another_packet() -> None:
    packet = TransportFeedback(1, 2, 100, 0, (1_000_000, None, 1_000_000 + 8_192_250))
    data, consumed = write_transport_feedback(packet, 1200)
    assert consumed == 2
    assert parse_compound(data) == [TransportFeedback(1, 2, 100, 0, (1_000_000, None))]
    with pytest.raises(ValueError):
        serialize(packet)


@pytest.mark.parametrize("delta_ticks", [255, 256, 32767, -1, -32768])
def test_deltas_at_their_borders(delta_ticks: int) -> None:
    start = 640_000_000
    packet = TransportFeedback(1, 2, 65535, 7, (start, start + 250 * delta_ticks))
    assert parse_compound(serialize(packet)) == [packet]
    # 20 bytes, a chunk, a delta of one byte and one of one or two, padding.
    assert len(serialize(packet)) == (24 if delta_ticks == 255 else 28)


def test_nothing_received_is_nothing_to_say() -> None:
    assert write_transport_feedback(TransportFeedback(1, 2, 3, 4, (None, None)), 1200) == (b"", 0)
    assert write_transport_feedback(TransportFeedback(1, 2, 3, 4, ()), 1200) == (b"", 0)


@pytest.mark.parametrize("capacity", [0, 3, 19, 20, 23])
def test_no_room_is_no_packet(capacity: int) -> None:
    assert write_transport_feedback(TransportFeedback(1, 2, 3, 4, (64_000,)), capacity) == (b"", 0)


def test_long_runs_take_two_bytes_each() -> None:
    packet = TransportFeedback(1, 2, 0, 0, (64_000, *[None] * 9000, 128_000))
    data = serialize(packet)
    assert parse_compound(data) == [packet]
    assert len(data) <= 20 + 5 * 2 + 4 + 3


def test_longest_feedback() -> None:
    packet = TransportFeedback(1, 2, 5, 0, tuple(range(64_000, 64_000 + 250 * 0xFFFF, 250)))
    assert len(packet.arrivals_us) == 0xFFFF
    assert parse_compound(serialize(packet)) == [packet]


def test_hand_made_packets() -> None:
    """The examples of the draft's §3.1.3 and §3.1.4 as chunks of one packet each."""
    head = bytes.fromhex("00000001 00000002")
    run = twin.write_packet(205, 15, head + bytes.fromhex("0001 00dd 000001 09 00dd"))
    assert parse_compound(run) == [TransportFeedback(1, 2, 1, 9, (None,) * 221)]
    one_bit = twin.write_packet(205, 15, head + bytes.fromhex("0001 000e 000001 09 9f1c 01 01 01 01 01 01 01 01"))
    expected = [int(symbol) for symbol in "01111100011100"]
    [parsed] = parse_compound(one_bit)
    assert isinstance(parsed, TransportFeedback)
    assert [int(time is not None) for time in parsed.arrivals_us] == expected
    assert [time for time in parsed.arrivals_us if time is not None] == [64_000 + 250 * i for i in range(1, 9)]


def test_negative_reference_time() -> None:
    data = twin.write_packet(205, 15, bytes(8) + bytes.fromhex("0001 0001 ffffff 00 2001 04"))
    [parsed] = parse_compound(data)
    assert isinstance(parsed, TransportFeedback)
    assert parsed.arrivals_us == (-64_000 + 1000,)
