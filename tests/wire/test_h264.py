# SPDX-License-Identifier: Apache-2.0
"""H.264 payloads: against the plain twin, and the SPS against FFmpeg."""

from collections.abc import Callable
from fractions import Fraction

import av
import pytest
from hypothesis import strategies as st

from sfu.wire.descriptors import H264
from sfu.wire.h264 import parse_payload
from tests.reference.wire_h264 import HIGH_PROFILES, Sps, parse_h264, sps_bytes, sps_size
from tests.wire.mutations import hostile, outcome

ForAll = Callable[..., None]

scaling_lists = st.tuples(*[st.none() | st.lists(st.integers(-128, 127), min_size=1, max_size=3).map(tuple)] * 8)
sps = st.builds(
    Sps,
    profile=st.sampled_from([66, 77, 88, *sorted(HIGH_PROFILES)]),
    width_macroblocks=st.integers(1, 1100),
    height_map_units=st.integers(1, 1100),
    frames_only=st.booleans(),
    crop=st.none() | st.tuples(*[st.integers(0, 20)] * 4),
    chroma=st.integers(0, 3),
    separate_planes=st.booleans(),
    scaling=st.none() | scaling_lists,
    picture_order=st.integers(0, 2),
    poc_offsets=st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=4).map(tuple),
)
sps_units = sps.map(lambda sps: b"\x67" + sps_bytes(sps))
other_units = st.builds(lambda kind, body: bytes([0x60 | kind]) + body, st.integers(0, 31), st.binary(max_size=12))
units = st.one_of(sps_units, other_units)


def aggregate(parts: list[bytes]) -> bytes:
    return b"\x78" + b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def fragment(unit: bytes, start: bool, end: bool) -> bytes:
    return bytes([0x7C, (0x80 if start else 0) | (0x40 if end else 0) | unit[0] % 32]) + unit[1:]


payloads = st.one_of(
    units,
    st.lists(units, min_size=1, max_size=4).map(aggregate),
    st.builds(fragment, units, st.booleans(), st.booleans()),
)


def test_parser_agrees_with_twin(for_all: ForAll) -> None:
    def check(data: bytes) -> None:
        assert outcome(parse_payload, data) == outcome(parse_h264, data)

    for_all(check, hostile(payloads, prefix=b"\x67"))


def test_size_comes_back(for_all: ForAll) -> None:
    """The writer of the twin and the reader under test, without the twin's reader in between."""

    def check(sps: Sps) -> None:
        parsed = parse_payload(b"\x67" + sps_bytes(sps))
        assert parsed.has_sps
        assert parsed.keyframe
        left, right, top, bottom = sps.crop or (0, 0, 0, 0)
        high = sps.profile in HIGH_PROFILES
        chroma = (0 if sps.chroma == 3 and sps.separate_planes else sps.chroma) if high else 1
        fields = 1 if sps.frames_only else 2
        width = 16 * sps.width_macroblocks - (left + right) * (2 if chroma in (1, 2) else 1)
        height = (16 * sps.height_map_units - (top + bottom) * (2 if chroma == 1 else 1)) * fields
        believed = (
            sps.width_macroblocks <= 1055
            and sps.height_map_units <= 1055
            and max(left, right) <= 16 * sps.width_macroblocks
            and width > 0
            and 0 < height <= 16 * 1055
        )
        assert (parsed.width, parsed.height) == ((width, height) if believed else (0, 0))

    plain = sps.filter(lambda sps: sps.scaling is None or sps.profile not in HIGH_PROFILES)
    for_all(check, plain)


def encoded(width: int, height: int, profile: str) -> bytes:
    """The first access unit that x264 makes of a grey picture, in Annex B form."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 30)
    codec.options = {"profile": profile, "tune": "zerolatency", "preset": "ultrafast"}
    frame = av.VideoFrame(width, height, "yuv420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (1920, 1080), (854, 480), (322, 182)])
def test_sps_of_x264(width: int, height: int, profile: str) -> None:
    stream = encoded(width, height, profile).replace(b"\0\0\0\1", b"\0\0\1")
    found = [unit for unit in stream.split(b"\0\0\1") if unit]
    sps_unit = next(unit for unit in found if unit[0] % 32 == 7)
    idr = next(unit for unit in found if unit[0] % 32 == 5)
    parsed = parse_payload(sps_unit)
    assert (parsed.width, parsed.height) == (width, height) == sps_size(sps_unit[1:])
    together = parse_payload(aggregate([sps_unit, idr[:1000]]))
    assert together == H264(
        keyframe=True, has_sps=True, has_idr=True, start_of_frame_hint=True, width=width, height=height
    )


def test_only_the_first_fragment_of_an_idr_slice_is_a_keyframe_start() -> None:
    idr = b"\x65\x88\x84\x00"
    first, middle, last = fragment(idr, True, False), fragment(idr, False, False), fragment(idr, False, True)
    assert parse_payload(first) == H264(keyframe=True, has_idr=True, start_of_frame_hint=True)
    assert parse_payload(middle) == parse_payload(last) == H264()


def test_frame_start_hint() -> None:
    assert parse_payload(b"\x61\x9a").start_of_frame_hint  # slice at macroblock 0
    assert not parse_payload(b"\x61\x4a").start_of_frame_hint  # a later slice
    for kind in (6, 7, 8, 9):
        assert parse_payload(bytes([kind, 0])).start_of_frame_hint


def test_emulation_prevention_is_undone() -> None:
    # 00 00 03 within the SPS; without care the size would be read one byte early.
    escaped = Sps(profile=66, width_macroblocks=1, height_map_units=1, picture_order=1, poc_offsets=(2**30, 0))
    assert b"\0\0\3" in sps_bytes(escaped)
    assert parse_payload(b"\x67" + sps_bytes(escaped)).width == 16


@pytest.mark.parametrize("data", ["", "78", "7800", "780000", "780001", "780002 67", "7c", "79 0000", "7f 00", "60"])
def test_malformed_payloads_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        parse_payload(bytes.fromhex(data))


def test_sps_without_a_readable_size_is_still_a_keyframe() -> None:
    for body in (b"", b"\x42", b"\x42\x00\x1f" + bytes(40), sps_bytes(Sps(reference_frames=17))):
        assert parse_payload(b"\x67" + body) == H264(keyframe=True, has_sps=True, start_of_frame_hint=True)
