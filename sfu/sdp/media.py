# SPDX-License-Identifier: Apache-2.0
"""Media sections as the server sees them, whoever made the offer.

A section is described by the client's wish: it publishes to us, it receives from us, or it does neither. The same model
is read from a client's offer and from a client's answer, so nothing in it depends on the role.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from sfu.sdp.codecs import REMEMBERED, VIDEO_CODECS, Codec, is_usual, match_codec, read_codecs
from sfu.sdp.document import MediaDescription, SdpError, Section, SessionDescription, parse_unsigned

Kind = Literal["audio", "video", "application"]
Direction = Literal["publish", "receive", "inactive"]

# A one-byte header extension carries at most 16 bytes (RFC 8285 §4.2): a longer identification would not fit it.
MAX_MID_CHARACTERS = 16
MAX_RID_CHARACTERS = 16
MAX_LAYERS = 8
MAX_SSRC = 0xFFFF_FFFF

# Identifiers 1..14 fit both forms of header extensions, 16..255 the two-byte form; 15 ends a one-byte block.
EXTENSION_IDS = frozenset(range(1, 256)) - {15}

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
TRANSPORT_CC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
VIDEO_ORIENTATION_URI = "urn:3gpp:video-orientation"
DEPENDENCY_DESCRIPTOR_URI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

PUBLISH_EXTENSIONS = frozenset(
    {
        MID_URI,
        RID_URI,
        REPAIRED_RID_URI,
        AUDIO_LEVEL_URI,
        TRANSPORT_CC_URI,
        ABS_SEND_TIME_URI,
        VIDEO_ORIENTATION_URI,
        DEPENDENCY_DESCRIPTOR_URI,
    }
)
RECEIVE_EXTENSIONS = frozenset(
    {MID_URI, AUDIO_LEVEL_URI, TRANSPORT_CC_URI, VIDEO_ORIENTATION_URI, DEPENDENCY_DESCRIPTOR_URI}
)

DESCRIBES_ITSELF = "VP8"

_RTP_PROTOCOLS = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"})  # JSEP §5.1.2
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")  # RFC 8866 §9
_RID = re.compile(r"[0-9A-Za-z_-]+")  # RFC 8851 §10
_DIRECTIONS: Mapping[str, Direction] = {
    "sendonly": "publish",
    "sendrecv": "publish",
    "recvonly": "receive",
    "inactive": "inactive",
}
# The direction of an a=extmap line is that of the client's packets (RFC 8285 §7).
_USELESS_EXTENSION_DIRECTIONS: Mapping[Direction, tuple[str, ...]] = {
    "publish": ("recvonly", "inactive"),
    "receive": ("sendonly", "inactive"),
    "inactive": (),
}


@dataclass(frozen=True)
class MediaSection:
    """One media section of a client: what the server needs of it, and what it must echo."""

    index: int
    mid: str
    kind: Kind
    direction: Direction
    rejected: bool  # by the client, or by us because we have no use for it
    codecs: tuple[Codec, ...] = ()
    extensions: Mapping[int, str] = field(default_factory=dict)
    rids: tuple[str, ...] = ()
    declared: tuple[tuple[int, int | None], ...] = ()  # (ssrc, retransmission ssrc) of each layer, only without rids
    stream_id: str = ""
    track_id: str = ""
    # Echoed in the description that goes back.
    simulcast: bool = False  # the rids came with an a=simulcast line
    directed_extensions: frozenset[int] = frozenset()  # offered with a direction, which is answered with ours
    reduced_size_rtcp: bool = False
    extmap_allow_mixed: bool = False
    media: str = field(default="", compare=False)
    protocol: str = field(default="UDP/TLS/RTP/SAVPF", compare=False)
    formats: tuple[str, ...] = field(default=(), compare=False)


def payload_map(publish: MediaSection, slot: MediaSection) -> tuple[tuple[int, int, int | None], ...]:
    """(publisher's payload type, receiver's, receiver's for retransmission) of each codec that the receiver plays."""
    if publish.kind != slot.kind:
        return ()
    matches = ((codec, _decoder(codec, publish, slot)) for codec in publish.codecs)
    return tuple(
        (codec.payload_type, decoder.payload_type, decoder.rtx_payload_type)
        for codec, decoder in matches
        if decoder is not None
    )


def _decoder(codec: Codec, publish: MediaSection, slot: MediaSection) -> Codec | None:
    """RED goes to who has not negotiated it as what is inside: the engine strips it where the payload types are one."""
    found = match_codec(codec, publish.kind, slot.codecs)
    if found is None and codec.name == "red":
        inside = {word for words in codec.parameters for word in words.split("/")}
        primary = next((one for one in publish.codecs if inside == {str(one.payload_type)}), None)
        return None if primary is None else match_codec(primary, publish.kind, slot.codecs)
    return found


def read_sections(
    description: SessionDescription, video_codecs: Sequence[str] = VIDEO_CODECS
) -> tuple[MediaSection, ...]:
    """All media sections, in order. `video_codecs`: what may be published. An extension id that an earlier section gave
    another meaning is not taken: in a bundle an id means one thing (RFC 8843 §9.1), and the engine keeps one table per
    transport."""
    claimed: dict[int, str] = {}
    mids: dict[str, int] = {}
    sections = []
    for index, media in enumerate(description.media):
        section = _read_section(index, media, description.session, claimed, video_codecs)
        if section.mid and mids.setdefault(section.mid, index) != index:
            raise SdpError(media.first_line, f"mid {section.mid!r} stands twice", "give each section its own a=mid")
        sections.append(section)
    return tuple(sections)


def _read_section(
    index: int, media: MediaDescription, session: Section, claimed: dict[int, str], video_codecs: Sequence[str]
) -> MediaSection:
    kind: Kind = "audio" if media.media == "audio" else "video" if media.media == "video" else "application"
    mid = _read_mid(media)
    direction = _read_direction(media, session)
    codecs: tuple[Codec, ...] = ()
    extensions: dict[int, str] = {}
    directed: frozenset[int] = frozenset()
    if not media.rejected and media.protocol in _RTP_PROTOCOLS:
        extensions, directed = _read_extensions(media, session, direction, claimed)
        transport_cc = TRANSPORT_CC_URI in extensions.values()
        codecs = read_codecs(media, publish=direction != "receive", transport_cc=transport_cc)
        if codecs and kind == "video" and direction == "publish":
            codecs = _allowed_codecs(media, codecs, video_codecs)
    if not codecs:
        return MediaSection(
            index, mid, kind, "inactive", True, media=media.media, protocol=media.protocol, formats=media.formats
        )
    if direction == "publish" and codecs[0].name == DESCRIBES_ITSELF:
        # With the descriptor Chromium strips VP8's own down to nothing, which receivers without the extension need.
        extensions = {key: uri for key, uri in extensions.items() if uri != DEPENDENCY_DESCRIPTOR_URI}
        directed &= extensions.keys()
    rids: tuple[str, ...] = ()
    simulcast = False
    declared: tuple[tuple[int, int | None], ...] = ()
    if direction == "publish":
        if RID_URI in extensions.values():
            rids, simulcast = _read_rids(media)
        declared = () if rids else _read_declared(media)
    stream_id, track_id = _read_msid(media)
    return MediaSection(
        index,
        mid,
        kind,
        direction,
        rejected=False,
        codecs=codecs,
        extensions=extensions,
        rids=rids,
        declared=declared,
        stream_id=stream_id,
        track_id=track_id,
        simulcast=simulcast,
        directed_extensions=directed,
        reduced_size_rtcp=media.has("rtcp-rsize"),
        extmap_allow_mixed=media.has("extmap-allow-mixed"),
        media=media.media,
        protocol=media.protocol,
        formats=media.formats,
    )


def _allowed_codecs(media: MediaDescription, codecs: Sequence[Codec], names: Sequence[str]) -> tuple[Codec, ...]:
    allowed = tuple(codec for codec in codecs if codec.name in names)
    if not allowed:
        offered = ", ".join(dict.fromkeys(codec.name for codec in codecs))
        raise SdpError(
            media.first_line,
            f"a video section that sends only {offered}, which is not allowed here",
            f"offer {' or '.join(names)} in it (setCodecPreferences)",
        )
    return allowed


def _read_mid(media: MediaDescription) -> str:
    attribute = media.first("mid")
    if attribute is None:
        if media.rejected:
            return ""
        raise SdpError(media.first_line, "a media section without a=mid", "give each media section an a=mid line")
    if len(attribute.value) > MAX_MID_CHARACTERS or not _TOKEN.fullmatch(attribute.value):
        raise SdpError(
            attribute.line,
            "a=mid is not usable",
            f"use a token of 1 to {MAX_MID_CHARACTERS} characters, so that it fits an RTP header extension",
        )
    return attribute.value


def _read_direction(media: MediaDescription, session: Section) -> Direction:
    for section in (media, session):
        for name, direction in _DIRECTIONS.items():
            if section.has(name):
                return direction
    return _DIRECTIONS["sendrecv"]


def _read_extensions(
    media: MediaDescription, session: Section, direction: Direction, claimed: dict[int, str]
) -> tuple[dict[int, str], frozenset[int]]:
    served = RECEIVE_EXTENSIONS if direction == "receive" else PUBLISH_EXTENSIONS
    useless = _USELESS_EXTENSION_DIRECTIONS[direction]
    extensions: dict[int, str] = {}
    directed = set()
    lines = (*media.raw("extmap"), *session.raw("extmap"))
    for identifier, uri, way in _read_extmap(lines) if is_usual(*lines) else _read_extmap.__wrapped__(lines):
        if uri not in served or uri in extensions.values() or identifier in extensions:
            continue
        if way in useless or claimed.setdefault(identifier, uri) != uri:
            continue
        extensions[identifier] = uri
        if way:
            directed.add(identifier)
    return extensions, frozenset(directed)


@lru_cache(maxsize=REMEMBERED)
def _read_extmap(lines: Sequence[str]) -> tuple[tuple[int, str, str], ...]:
    """Identifier, URI and direction of each extension that we may serve."""
    found = []
    for line in lines:
        words = line.partition(":")[2].split()
        if len(words) < 2 or words[1] not in PUBLISH_EXTENSIONS | RECEIVE_EXTENSIONS:
            continue
        text, _, way = words[0].partition("/")
        identifier = parse_unsigned(text, 255)
        if identifier is not None and identifier in EXTENSION_IDS:
            found.append((identifier, words[1], way))
    return tuple(found)


def _read_rids(media: MediaDescription) -> tuple[tuple[str, ...], bool]:
    """The layers in the order of a=simulcast (of a=rid without one). `~` (starts paused) is noted by nobody, and of
    alternatives the first one that is declared is taken (RFC 8853 §5.1)."""
    declared = []
    for attribute in media.all("rid"):
        words = attribute.value.split()
        if len(words) >= 2 and words[1] == "send" and _RID.fullmatch(words[0]):
            if len(words[0]) > MAX_RID_CHARACTERS:
                raise SdpError(attribute.line, "a=rid is too long", f"use at most {MAX_RID_CHARACTERS} characters")
            declared.append(words[0])
    order = _simulcast_order(media)
    if order is None:
        rids = list(dict.fromkeys(declared))
    else:
        known = frozenset(declared)
        chosen = (next((rid for rid in alternatives if rid in known), None) for alternatives in order)
        rids = list(dict.fromkeys(rid for rid in chosen if rid is not None))
    if len(rids) > MAX_LAYERS:
        raise SdpError(media.first_line, f"{len(rids)} simulcast layers", f"send at most {MAX_LAYERS}")
    return tuple(rids), order is not None and bool(rids)


def _simulcast_order(media: MediaDescription) -> Iterator[Sequence[str]] | None:
    """What follows "send" in `a=simulcast:send q;~h,g;f recv ...`: a list of alternatives for each layer."""
    attribute = media.first("simulcast")
    if attribute is None:
        return None
    words = attribute.value.split()
    for direction, layers in zip(words[::2], words[1::2], strict=False):
        if direction == "send":
            return ([rid.removeprefix("~") for rid in layer.split(",")] for layer in layers.split(";"))
    return None


def _read_declared(media: MediaDescription) -> tuple[tuple[int, int | None], ...]:
    """SSRCs named by the offer: the layers of a SIM group, else the first source; each with its FID partner."""
    retransmission: dict[int, int] = {}
    layers: list[int] = []
    repairs: set[int] = set()
    for attribute in media.all("ssrc-group"):
        semantics, *words = attribute.value.split() or [""]
        group = [number for word in words if (number := _parse_ssrc(word)) is not None]
        if semantics == "SIM" and not layers:
            layers = list(dict.fromkeys(group))
        elif semantics == "FID" and len(group) == 2 and group[0] != group[1]:
            retransmission.setdefault(*group)
        if semantics != "SIM":
            repairs.update(group[1:])
    if not layers:
        sources = (_parse_ssrc(attribute.value.partition(" ")[0]) for attribute in media.all("ssrc"))
        named = [*retransmission, *(source for source in sources if source is not None and source not in repairs)]
        layers = named[:1]
    if len(layers) > MAX_LAYERS:
        raise SdpError(media.first_line, f"{len(layers)} simulcast layers", f"send at most {MAX_LAYERS}")
    return tuple((ssrc, retransmission.get(ssrc)) for ssrc in layers)


def _parse_ssrc(text: str) -> int | None:
    """0 means "none" to the engine, so it is not taken."""
    return parse_unsigned(text, MAX_SSRC) or None


def _read_msid(media: MediaDescription) -> tuple[str, str]:
    """Stream and track id of a=msid, in older clients of `a=ssrc:<number> msid:...`; "-" is no stream (RFC 8830 §2)."""
    attribute = media.first("msid")
    value = attribute.value if attribute is not None else ""
    if not value:
        for source in media.all("ssrc"):
            _, _, detail = source.value.partition(" ")
            if detail.startswith("msid:"):
                value = detail.removeprefix("msid:")
                break
    stream_id, track_id = [*value.split(), "", ""][:2]
    return ("" if stream_id == "-" else stream_id), track_id
