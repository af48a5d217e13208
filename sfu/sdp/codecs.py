# SPDX-License-Identifier: Apache-2.0
"""The codecs that are served: how they are read from a media section, and which decoder plays which stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from sfu.sdp.document import MediaDescription, parse_unsigned

MAX_PAYLOAD_TYPE = 127
# With rtcp-mux these, with the marker bit set, cannot be told from RTCP packet types 192..223 (RFC 5761 §4).
RTCP_PAYLOAD_TYPES = range(64, 96)
MAX_CLOCK_RATE = 1_000_000
MAX_CHANNELS = 255

# So many different sections are remembered, but none that says more: one of Chromium's says 3,000 characters of codecs.
REMEMBERED = 64
USUAL_CHARACTERS = 16 * 1024

Parameters = Mapping[str, str]
RtpMap = tuple[str, int, int]  # name in lower case, clock rate, channels
_UNMAPPED: RtpMap = ("", 0, 0)


@dataclass(frozen=True)
class Codec:
    """One codec of a media section, under the payload types that the client gave it."""

    name: str
    payload_type: int
    clock_rate: int
    channels: int
    parameters: Parameters
    feedback: frozenset[str]
    rtx_payload_type: int | None

    @property
    def rtpmap(self) -> str:
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name}/{self.clock_rate}{channels}"

    @cached_property
    def answer_lines(self) -> tuple[str, ...]:
        """What describes it in an answer."""
        lines = [f"a=rtpmap:{self.payload_type} {self.rtpmap}"]
        lines += [f"a=rtcp-fb:{self.payload_type} {name}" for name in VIDEO_FEEDBACK if name in self.feedback]
        # sprop-* describes the sender's own stream: in our answer it would speak of ours.
        echoed = [(name, value) for name, value in self.parameters.items() if not name.startswith("sprop-")]
        if echoed:
            parameters = ";".join(f"{name}={value}" if value else name for name, value in echoed)
            lines.append(f"a=fmtp:{self.payload_type} {parameters}")
        if self.rtx_payload_type is not None:
            lines.append(f"a=rtpmap:{self.rtx_payload_type} rtx/{self.clock_rate}")
            lines.append(f"a=fmtp:{self.rtx_payload_type} apt={self.payload_type}")
        return tuple(lines)


def _any_parameters(_: Parameters) -> bool:
    return True


def _always_equal(_stream: Parameters, _decoder: Parameters) -> int | None:
    return 0


# --- H.264 (RFC 6184 §8.1)

# Level asymmetry is taken as allowed: everybody offers it, and the level that flows is the publisher's choice anyway.
_DEFAULT_PROFILE_LEVEL_ID = "42000a"  # Baseline, level 1: what an absent parameter means
_PACKETIZATION_MODES = ("0", "1")  # mode 2 interleaves NAL units: no browser sends it

_BASELINE, _CONSTRAINED_BASELINE, _MAIN, _HIGH, _CONSTRAINED_HIGH = "B", "CB", "M", "H", "CH"

# RFC 6184 table 5: profile_idc, mask and value of profile_iop, profile.
_H264_PROFILES = (
    (0x42, 0x4F, 0x40, _CONSTRAINED_BASELINE),
    (0x4D, 0x8F, 0x80, _CONSTRAINED_BASELINE),
    (0x58, 0xCF, 0xC0, _CONSTRAINED_BASELINE),
    (0x42, 0x4F, 0x00, _BASELINE),
    (0x58, 0xCF, 0x80, _BASELINE),
    (0x4D, 0xAF, 0x00, _MAIN),
    (0x64, 0xFF, 0x00, _HIGH),
    (0x64, 0xFF, 0x0C, _CONSTRAINED_HIGH),
)

# Which other decoders play a stream, nearest first. Baseline → Constrained Baseline is not so by the letter, but no
# encoder of a WebRTC client uses what Baseline has more (FMO, ASO, redundant slices), and some clients offer only one.
_H264_PLAYED_BY = {
    _CONSTRAINED_BASELINE: (_BASELINE, _MAIN, _CONSTRAINED_HIGH, _HIGH),
    _BASELINE: (_CONSTRAINED_BASELINE,),
    _MAIN: (_HIGH,),
    _CONSTRAINED_HIGH: (_HIGH,),
}


def _h264_profile_level(parameters: Parameters) -> int | None:
    text = parameters.get("profile-level-id", _DEFAULT_PROFILE_LEVEL_ID)
    if len(text) != 6 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        return None
    return int(text, 16)


def _h264_profile(profile_level: int) -> str:
    idc, iop = profile_level >> 16, (profile_level >> 8) & 0xFF
    for profile_idc, mask, value, profile in _H264_PROFILES:
        if idc == profile_idc and iop & mask == value:
            return profile
    return f"{idc:02x}{iop:02x}"


def _h264_accepts(parameters: Parameters) -> bool:
    mode = parameters.get("packetization-mode", "0")
    return mode in _PACKETIZATION_MODES and _h264_profile_level(parameters) is not None


def _h264_rank(stream: Parameters, decoder: Parameters) -> int | None:
    """0 same profile and level, 1 same profile, then wider ones. Mode 0 packets are legal in mode 1, not vice versa."""
    stream_mode, decoder_mode = stream.get("packetization-mode", "0"), decoder.get("packetization-mode", "0")
    stream_id, decoder_id = _h264_profile_level(stream), _h264_profile_level(decoder)
    if stream_mode > decoder_mode or stream_id is None or decoder_id is None:
        return None
    stream_profile, decoder_profile = _h264_profile(stream_id), _h264_profile(decoder_id)
    if stream_id == decoder_id:
        rank = 0
    elif stream_profile == decoder_profile:
        rank = 1
    else:
        played_by = _H264_PLAYED_BY.get(stream_profile, ())
        if decoder_profile not in played_by:
            return None
        rank = 2 + played_by.index(decoder_profile)
    other_mode_penalty = 8  # beyond every profile rank: prefer the stream's own mode
    return rank if stream_mode == decoder_mode else rank + other_mode_penalty


# --- VP9 (RFC 9628 §6.1), AV1 (AV1 RTP specification v1.0 §7.2), RED (RFC 2198 §5)

_VP9_PROFILES = ("0", "2")  # 8 and 10 bits, both 4:2:0: what hardware and browsers decode
_AV1_PROFILES = ("0",)  # Main


def _vp9_accepts(parameters: Parameters) -> bool:
    return parameters.get("profile-id", "0") in _VP9_PROFILES


def _vp9_rank(stream: Parameters, decoder: Parameters) -> int | None:
    return 0 if stream.get("profile-id", "0") == decoder.get("profile-id", "0") else None


def _av1_accepts(parameters: Parameters) -> bool:
    return parameters.get("profile", "0") in _AV1_PROFILES


def _av1_rank(stream: Parameters, decoder: Parameters) -> int | None:
    """Level and tier say what a decoder can do at most; what flows is bounded by the layer that is chosen."""
    return 0 if stream.get("profile", "0") == decoder.get("profile", "0") else None


def _red_rank(stream: Parameters, decoder: Parameters) -> int | None:
    """The blocks inside carry payload types of their own ("111/111"), which are not rewritten."""
    return 0 if stream.keys() == decoder.keys() else None


# --- the table of what is served


class SupportedCodec(NamedTuple):
    name: str
    clock_rate: int
    channels: int
    accepts: Callable[[Parameters], bool] = _any_parameters
    # (parameters of the stream, parameters of the decoder) → how well they fit, 0 best, None not at all
    rank: Callable[[Parameters, Parameters], int | None] = _always_equal


SUPPORTED_CODECS: Mapping[str, Mapping[str, SupportedCodec]] = {
    "audio": {
        "opus": SupportedCodec("opus", 48000, 2),
        "red": SupportedCodec("red", 48000, 2, rank=_red_rank),
        "pcmu": SupportedCodec("PCMU", 8000, 1),
        "pcma": SupportedCodec("PCMA", 8000, 1),
    },
    "video": {
        "vp8": SupportedCodec("VP8", 90000, 1),
        "vp9": SupportedCodec("VP9", 90000, 1, _vp9_accepts, _vp9_rank),
        "h264": SupportedCodec("H264", 90000, 1, _h264_accepts, _h264_rank),
        "av1": SupportedCodec("AV1", 90000, 1, _av1_accepts, _av1_rank),
    },
}

VIDEO_CODECS = ("VP8", "H264", "VP9", "AV1")

# Payload types that need no a=rtpmap (RFC 3551 §6).
_STATIC_MAPS: Mapping[str, RtpMap] = {"0": ("pcmu", 8000, 1), "8": ("pcma", 8000, 1)}

REMB = "goog-remb"
# All that there is, in the order in which answers list it.
VIDEO_FEEDBACK = (REMB, "transport-cc", "ccm fir", "nack", "nack pli")
AUDIO_FEEDBACK = ("transport-cc",)


def served_feedback(kind: str, *, publish: bool, transport_cc: bool) -> frozenset[str]:
    """transport-cc feedback speaks of the numbers in that header extension: without the extension there is none. REMB
    tells a publisher the most that it may send; who has no other feedback would take that for what its link carries."""
    served = frozenset(VIDEO_FEEDBACK if kind == "video" else AUDIO_FEEDBACK)
    if not transport_cc:
        return served - {"transport-cc", REMB}
    return served if publish else served - {REMB}


# --- reading


def read_codecs(media: MediaDescription, *, publish: bool, transport_cc: bool) -> tuple[Codec, ...]:
    """The supported codecs of a section, in its order of preference, each with its retransmission payload type."""
    if media.media not in SUPPORTED_CODECS:
        return ()
    rtpmap, fmtp, rtcp_fb = media.raw("rtpmap"), media.raw("fmtp"), media.raw("rtcp-fb")
    # The sections of an offer, and the offers of a browser, all say the same: it is read once.
    usual = is_usual(*media.formats, *rtpmap, *fmtp, *rtcp_fb)
    read = _read_codecs if usual else _read_codecs.__wrapped__
    return read(media.media, media.formats, rtpmap, fmtp, rtcp_fb, publish, transport_cc)


def is_usual(*words: str) -> bool:
    """Short enough to be remembered."""
    return sum(map(len, words)) <= USUAL_CHARACTERS


@lru_cache(maxsize=REMEMBERED)
def _read_codecs(
    kind: str,
    formats: tuple[str, ...],
    rtpmap: tuple[str, ...],
    fmtp: tuple[str, ...],
    rtcp_fb: tuple[str, ...],
    publish: bool,
    transport_cc: bool,
) -> tuple[Codec, ...]:
    supported = SUPPORTED_CODECS[kind]
    maps = {key: _parse_rtpmap(values[0]) for key, values in _by_payload_type(rtpmap).items()}
    if kind == "audio":
        maps = {**_STATIC_MAPS, **maps}
    parameters = {key: _parse_parameters(values) for key, values in _by_payload_type(fmtp).items()}
    feedback = _by_payload_type(rtcp_fb)
    payload_types = _payload_types(formats)
    retransmission = _retransmission(payload_types, maps, parameters)
    served = served_feedback(kind, publish=publish, transport_cc=transport_cc)
    codecs = []
    for payload_type in payload_types:
        key = str(payload_type)
        name, clock_rate, channels = maps.get(key, _UNMAPPED)
        rule = supported.get(name)
        own = parameters.get(key, {})
        if rule is None or (clock_rate, channels) != (rule.clock_rate, rule.channels) or not rule.accepts(own):
            continue
        rtx = retransmission.get(payload_type)
        offered = {" ".join(value.split()) for value in (*feedback.get(key, ()), *feedback.get("*", ()))}
        if not publish and rtx is None:
            # A lost packet is answered by RTX only: sent again under its own number, it would be protected twice.
            offered.discard("nack")
        codecs.append(Codec(rule.name, payload_type, clock_rate, channels, own, served & offered, rtx))
    return tuple(codecs)


def _by_payload_type(lines: Sequence[str]) -> dict[str, list[str]]:
    """Of `a=name:<payload type> <value>` the values."""
    found: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition(":")[2].removesuffix("\r").partition(" ")
        found.setdefault(key, []).append(value.strip())
    return found


def _payload_types(formats: Sequence[str]) -> list[int]:
    numbers = (parse_unsigned(text, MAX_PAYLOAD_TYPE) for text in formats)
    return list(dict.fromkeys(n for n in numbers if n is not None and n not in RTCP_PAYLOAD_TYPES))


def _parse_rtpmap(value: str) -> RtpMap:
    name, clock_rate, channels = [*value.split("/"), "", ""][:3]
    return name.lower(), parse_unsigned(clock_rate, MAX_CLOCK_RATE) or 0, parse_unsigned(channels, MAX_CHANNELS) or 1


def _parse_parameters(values: Sequence[str]) -> Parameters:
    parameters = {}
    for part in ";".join(values).split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            parameters[name] = value
    return parameters


def _retransmission(
    payload_types: Sequence[int], maps: Mapping[str, RtpMap], parameters: Mapping[str, Parameters]
) -> dict[int, int]:
    """Original payload type → the one that retransmits it (RFC 4588 §8)."""
    found: dict[int, int] = {}
    for payload_type in payload_types:
        key = str(payload_type)
        if maps.get(key, _UNMAPPED)[0] == "rtx":
            original = parse_unsigned(parameters.get(key, {}).get("apt", ""), MAX_PAYLOAD_TYPE)
            if original is not None and original != payload_type:
                found.setdefault(original, payload_type)
    return found


# --- matching


def match_codec(stream: Codec, kind: str, decoders: Sequence[Codec]) -> Codec | None:
    """The decoder that fits a stream best; among equals the one its owner prefers (lists first)."""
    rule = SUPPORTED_CODECS.get(kind, {}).get(stream.name.lower())
    if rule is None:
        return None
    best: tuple[int, Codec] | None = None
    for decoder in decoders:
        if (decoder.name, decoder.clock_rate, decoder.channels) != (stream.name, stream.clock_rate, stream.channels):
            continue
        rank = rule.rank(stream.parameters, decoder.parameters)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, decoder)
    return best[1] if best else None
