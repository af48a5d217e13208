# SPDX-License-Identifier: Apache-2.0
"""Pictures that tell when they were made, also after an encoder, and a tone of known level."""

from __future__ import annotations

import fractions

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.load.pictures import (
    AMPLITUDE,
    BEST_PSNR_DB,
    TIME_BITS,
    PictureTrack,
    ToneTrack,
    age_ms,
    clock_ms,
    draw_luma,
    level_dbfs,
    luma_of,
    psnr_db,
    read_time,
)

LAST_MS = (1 << TIME_BITS) - 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, LAST_MS), st.sampled_from([(160, 90), (640, 360), (321, 179), (1280, 720)]))
def test_what_is_drawn_is_read(made_ms: int, size: tuple[int, int]) -> None:
    luma = draw_luma(made_ms, *size)
    assert read_time(luma) == made_ms
    assert psnr_db(luma, made_ms) == BEST_PSNR_DB


def test_what_is_no_such_picture_is_not_read() -> None:
    rng = np.random.default_rng(1)
    read = [read_time(rng.integers(0, 255, (180, 320), dtype=np.uint8)) for _ in range(200)]
    assert read.count(None) > 170  # four bits of checksum let one in sixteen through
    assert read_time(np.full((8, 8), 128, np.uint8)) is None


def test_age_is_right_across_the_wrap() -> None:
    assert age_ms(LAST_MS, 9) == 10
    assert age_ms(100, 150) == 50


def test_an_encoder_leaves_it_readable_and_another_picture_is_unlike() -> None:
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.bit_rate, encoder.time_base = 150_000, fractions.Fraction(1, 15)
    encoder.options = {"deadline": "realtime", "lag-in-frames": "0"}
    decoder = av.CodecContext.create("vp8", "r")
    read = []
    for count in range(30):
        planes = np.concatenate([draw_luma(5000 + count * 67, 320, 180), np.full((90, 320), 128, np.uint8)])
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = count
        for packet in encoder.encode(frame):
            read += [luma_of(decoded) for decoded in decoder.decode(packet)]
    assert [read_time(luma) for luma in read] == [5000 + count * 67 for count in range(30)]
    assert all(psnr_db(luma, 5000 + count * 67) > 25 for count, luma in enumerate(read))
    assert all(psnr_db(luma, 7000 + count * 67) < 20 for count, luma in enumerate(read))


async def test_tracks_keep_their_pace() -> None:
    pictures, tone = PictureTrack(321, 181, 50.0), ToneTrack()
    frames = [await pictures.recv() for _ in range(3)]
    assert [frame.pts for frame in frames] == [1800, 3600, 5400]
    assert (frames[0].width, frames[0].height) == (320, 180)
    made_ms = read_time(luma_of(frames[-1]))
    assert made_ms is not None
    assert age_ms(made_ms, clock_ms()) < 60_000
    sounds = [await tone.recv() for _ in range(3)]
    assert [sound.pts for sound in sounds] == [0, 960, 1920]
    assert level_dbfs(sounds[0]) == pytest.approx(20 * np.log10(AMPLITUDE / np.sqrt(2)), abs=0.1)
