# SPDX-License-Identifier: Apache-2.0
"""Which of a receiver's payload types plays what a publisher sends."""

import pytest

from sfu.sdp.negotiation import MediaSection, parse_offer, payload_map
from tests.sdp.descriptions import OPUS, VP8, audio, captured, offer_text, video

# Constrained baseline is called by two names in the wild, and the level differs without meaning anything here.
BASELINE, CONSTRAINED, CONSTRAINED_HIGHER, MAIN_AS_CONSTRAINED = "42001f", "42e01f", "42e034", "4d801f"
MAIN, HIGH, CONSTRAINED_HIGH, UNKNOWN = "4d001f", "64001f", "640c1f", "f4001f"


def h264(
    *formats: tuple[int, str | None, str | None], rtx: int | None = None, direction: str = "sendonly"
) -> MediaSection:
    """A section of H.264 formats: payload type, profile-level-id, packetization-mode."""
    lines = [f"a={direction}"]
    for number, profile, mode in formats:
        lines.append(f"a=rtpmap:{number} H264/90000")
        pairs = {"profile-level-id": profile, "packetization-mode": mode}
        parameters = ";".join(f"{name}={value}" for name, value in pairs.items() if value is not None)
        lines += [f"a=fmtp:{number} {parameters}"] if parameters else []
    numbers = [str(number) for number, _, _ in formats]
    if rtx is not None:
        lines += [f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={numbers[0]}"]
        numbers.append(str(rtx))
    return parse_offer(offer_text(video("0", *lines, formats=" ".join(numbers)))).sections[0]


def test_chromium_to_chromium() -> None:
    sections = parse_offer(captured("chromium-156-slots-offer")).sections
    microphone, camera, slot, sound_slot = sections[0], sections[1], sections[2], sections[6]
    assert payload_map(microphone, sound_slot) == tuple((number, number, None) for number in (111, 63, 0, 8))
    mapped = payload_map(camera, slot)
    assert mapped == tuple((codec.payload_type, codec.payload_type, codec.rtx_payload_type) for codec in camera.codecs)


def test_between_browsers_with_other_numbers() -> None:
    chromium = parse_offer(captured("chromium-156-slots-offer")).sections
    firefox = parse_offer(captured("firefox-153-slots-offer")).sections
    assert payload_map(firefox[1], chromium[2]) == ((120, 96, 97), (121, 98, 99), (99, 45, 46))
    # This Firefox has no H.264: what it cannot play has no entry.
    assert payload_map(chromium[1], firefox[2]) == ((96, 120, 124), (45, 99, 100), (98, 121, 125))
    assert payload_map(firefox[0], chromium[6]) == ((109, 111, None), (0, 0, None), (8, 8, None))


def test_kinds_do_not_mix() -> None:
    picture = parse_offer(offer_text(video("0", *VP8))).sections[0]
    sound = parse_offer(offer_text(audio("0", *OPUS))).sections[0]
    assert payload_map(picture, sound) == payload_map(sound, picture) == ()


def test_nothing_in_common() -> None:
    picture = parse_offer(offer_text(video("0", *VP8))).sections[0]
    assert payload_map(picture, h264((102, CONSTRAINED, "1"))) == ()
    assert payload_map(h264((102, CONSTRAINED, "1")), picture) == ()


@pytest.mark.parametrize(
    ("stream", "decoders", "chosen"),
    [
        (CONSTRAINED, [BASELINE, MAIN, CONSTRAINED_HIGHER, CONSTRAINED], CONSTRAINED),
        (CONSTRAINED, [BASELINE, MAIN, CONSTRAINED_HIGHER], CONSTRAINED_HIGHER),
        (CONSTRAINED, [MAIN, MAIN_AS_CONSTRAINED, BASELINE], MAIN_AS_CONSTRAINED),
        (CONSTRAINED, [HIGH, MAIN, BASELINE], BASELINE),
        (CONSTRAINED, [HIGH, CONSTRAINED_HIGH, MAIN], MAIN),
        (CONSTRAINED, [HIGH], HIGH),
        (BASELINE, [MAIN, CONSTRAINED], CONSTRAINED),
        (BASELINE, [MAIN, HIGH], None),
        (MAIN, [BASELINE, CONSTRAINED, HIGH], HIGH),
        (MAIN, [BASELINE, CONSTRAINED, CONSTRAINED_HIGH], None),
        (CONSTRAINED_HIGH, [MAIN, HIGH], HIGH),
        (HIGH, [MAIN, CONSTRAINED_HIGH, CONSTRAINED], None),
        (UNKNOWN, [HIGH, "f40020"], "f40020"),
        (UNKNOWN, [HIGH, CONSTRAINED], None),
        ("42E01F", ["42e01f"], "42e01f"),
        (None, [MAIN, CONSTRAINED], CONSTRAINED),  # no profile-level-id: baseline
    ],
)
def test_profiles(stream: str | None, decoders: list[str], chosen: str | None) -> None:
    slot = h264(*((100 + index, profile, "1") for index, profile in enumerate(decoders)), direction="recvonly")
    expected = () if chosen is None else ((99, 100 + decoders.index(chosen), None),)
    assert payload_map(h264((99, stream, "1")), slot) == expected


def test_packetization_modes() -> None:
    single, fragmented = (100, CONSTRAINED, "0"), (101, CONSTRAINED, "1")
    slot = h264(fragmented, single, direction="recvonly")
    assert payload_map(h264((99, CONSTRAINED, "1")), slot) == ((99, 101, None),)
    assert payload_map(h264((99, CONSTRAINED, "0")), slot) == ((99, 100, None),)
    assert payload_map(h264((99, CONSTRAINED, None)), slot) == ((99, 100, None),)
    # A receiver of fragments understands whole units, not the other way round.
    assert payload_map(h264((99, CONSTRAINED, "0")), h264(fragmented)) == ((99, 101, None),)
    assert payload_map(h264((99, CONSTRAINED, "1")), h264(single)) == ()
    # Its own mode in a wider profile is better than another mode.
    assert payload_map(h264((99, CONSTRAINED, "0")), h264(fragmented, (102, HIGH, "0"))) == ((99, 102, None),)


def test_retransmission_is_the_receivers() -> None:
    publish = h264((98, CONSTRAINED, "1"), rtx=99)
    assert payload_map(publish, h264((102, CONSTRAINED, "1"), rtx=103)) == ((98, 102, 103),)
    assert payload_map(publish, h264((102, CONSTRAINED, "1"))) == ((98, 102, None),)


def test_the_receiver_prefers_among_equals() -> None:
    slot = h264((103, CONSTRAINED, "1"), (102, CONSTRAINED, "1"), direction="recvonly")
    assert payload_map(h264((99, CONSTRAINED, "1")), slot) == ((99, 103, None),)
