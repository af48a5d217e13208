# SPDX-License-Identifier: Apache-2.0
"""The light bot's offer, from a template in the shape of Chromium's, and what it needs of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from sfu.sdp.document import MediaDescription, SessionDescription

Kind = Literal["audio", "video"]
Setup = Literal["actpass", "active", "passive"]

OPUS: Final = 111
VP8: Final = 96
VP8_RTX: Final = 97
RTX_OF: Final[Mapping[int, int]] = {VP8: VP8_RTX}
CLOCK_RATE_HZ: Final[Mapping[Kind, int]] = {"audio": 48_000, "video": 90_000}

# Header extension ids, as Chromium numbers them.
AUDIO_LEVEL: Final = 1
ABS_SEND_TIME: Final = 2
TRANSPORT_CC: Final = 3
MID: Final = 4
RID: Final = 10
REPAIRED_RID: Final = 11
_URIS: Final[Mapping[int, str]] = {
    AUDIO_LEVEL: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    ABS_SEND_TIME: "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    TRANSPORT_CC: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    MID: "urn:ietf:params:rtp-hdrext:sdes:mid",
    RID: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    REPAIRED_RID: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
}
_PAYLOADS: Final[Mapping[Kind, Sequence[str]]] = {
    "audio": (
        f"a=rtpmap:{OPUS} opus/48000/2",
        f"a=rtcp-fb:{OPUS} transport-cc",
        f"a=fmtp:{OPUS} minptime=10;useinbandfec=1",
    ),
    "video": (
        *(f"a=rtcp-fb:{VP8} {what}" for what in ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")),
        f"a=rtpmap:{VP8_RTX} rtx/90000",
        f"a=fmtp:{VP8_RTX} apt={VP8}",
    ),
}
_CODECS: Final[Mapping[str, Sequence[str]]] = {
    "VP8": (f"a=rtpmap:{VP8} VP8/90000",),
    "H264": (
        f"a=rtpmap:{VP8} H264/90000",
        f"a=fmtp:{VP8} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
}
_EXTENSIONS: Final[Mapping[Kind, Sequence[int]]] = {
    "audio": (AUDIO_LEVEL, ABS_SEND_TIME, TRANSPORT_CC, MID),
    "video": (ABS_SEND_TIME, TRANSPORT_CC, MID, RID, REPAIRED_RID),
}


@dataclass(frozen=True, slots=True)
class OfferedSection:
    """One media section. With `ssrc` it publishes (a video section with `rids` as simulcast), without it receives."""

    mid: str
    kind: Kind
    publishes: bool = False
    ssrc: int = 0
    rtx_ssrc: int = 0
    rids: tuple[str, ...] = ()
    stream_id: str = "-"
    cname: str = ""
    codec: str = "VP8"
    """Of a video section, under the payload type `VP8` whatever it is."""


def write_offer(
    sections: Sequence[OfferedSection], *, ufrag: str, password: str, fingerprint: str, setup: Setup, version: int
) -> str:
    """A complete offer; `version` counts the offers of one connection."""
    lines = [
        "v=0",
        f"o=- 4611732941234567890 {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(section.mid for section in sections),
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
    ]
    transport = [
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{password}",
        "a=ice-options:trickle",
        f"a=fingerprint:{fingerprint}",
        f"a=setup:{setup}",
    ]
    for section in sections:
        payloads = f"{OPUS}" if section.kind == "audio" else f"{VP8} {VP8_RTX}"
        lines += [
            f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {payloads}",
            *transport,
            f"a=mid:{section.mid}",
            *(f"a=extmap:{number} {_URIS[number]}" for number in _EXTENSIONS[section.kind]),
            "a=sendonly" if section.publishes else "a=recvonly",
            *([f"a=msid:{section.stream_id} {section.mid}"] if section.publishes else []),
            "a=rtcp-mux",
            "a=rtcp-rsize",
            *(_CODECS[section.codec] if section.kind == "video" else ()),
            *_PAYLOADS[section.kind],
            *_sources(section),
        ]
    return "".join(line + "\r\n" for line in lines)


def _sources(section: OfferedSection) -> list[str]:
    """A simulcast section names its layers by rid and declares no SSRC, as browsers do."""
    if section.rids:
        return [*(f"a=rid:{rid} send" for rid in section.rids), "a=simulcast:send " + ";".join(section.rids)]
    if not section.publishes:
        return []
    ssrcs = [section.ssrc, section.rtx_ssrc] if section.rtx_ssrc else [section.ssrc]
    group = [f"a=ssrc-group:FID {section.ssrc} {section.rtx_ssrc}"] if section.rtx_ssrc else []
    return group + [f"a=ssrc:{ssrc} cname:{section.cname}" for ssrc in ssrcs]


@dataclass(frozen=True, slots=True)
class AnsweredSection:
    """What the server will do in one section."""

    mid: str
    kind: str
    direction: str
    codecs: Mapping[int, str]
    """Encoding names by payload type."""
    repairs: Mapping[int, int]
    """Payload type → that of its retransmissions."""
    extensions: Mapping[int, str] = field(default_factory=dict)
    ssrc: int = 0
    rtx_ssrc: int = 0
    stream_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's transport and its sections by mid; rejected ones are left out."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    ice_lite: bool
    candidates: tuple[str, ...]
    sections: Mapping[str, AnsweredSection]


def read_answer(sdp: str) -> Answer:
    """ValueError where the answer lacks what a connection needs."""
    description = SessionDescription.parse(sdp)
    accepted = [media for media in description.media if not media.rejected]
    if not accepted:
        raise ValueError("the answer accepts no media section")
    first = accepted[0]
    found = {name: _value(first, description, name) for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup")}
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise ValueError(f"the answer lacks {', '.join(missing)}")
    algorithm, _, value = found["fingerprint"].partition(" ")
    return Answer(
        ufrag=found["ice-ufrag"],
        password=found["ice-pwd"],
        fingerprints=((algorithm, value),),
        setup=found["setup"],
        ice_lite=description.session.has("ice-lite"),
        candidates=tuple(attribute.value for attribute in first.all("candidate")),
        sections={section.mid: section for section in map(_section, accepted)},
    )


def _value(media: MediaDescription, description: SessionDescription, name: str) -> str:
    attribute = media.first(name) or description.session.first(name)
    return "" if attribute is None else attribute.value


def _section(media: MediaDescription) -> AnsweredSection:
    mid, msid = media.first("mid"), media.first("msid")
    ssrcs = [int(attribute.value.split()[0]) for attribute in media.all("ssrc")]
    group = next((a.value.split()[1:] for a in media.all("ssrc-group") if a.value.startswith("FID ")), [])
    primary, repair = (int(group[0]), int(group[1])) if len(group) == 2 else ((ssrcs or [0])[0], 0)
    return AnsweredSection(
        mid="" if mid is None else mid.value,
        kind=media.media,
        direction=next((name for name in ("sendonly", "recvonly", "inactive", "sendrecv") if media.has(name)), ""),
        codecs={int(number): encoding.partition("/")[0] for number, encoding in _mapped(media, "rtpmap")},
        repairs={
            int(parameters.removeprefix("apt=")): int(number)
            for number, parameters in _mapped(media, "fmtp")
            if parameters.startswith("apt=")
        },
        extensions={int(number.partition("/")[0]): uri.split()[0] for number, uri in _mapped(media, "extmap")},
        ssrc=primary,
        rtx_ssrc=repair,
        stream_id="" if msid is None else msid.value.split()[0],
    )


def _mapped(media: MediaDescription, name: str) -> list[tuple[str, str]]:
    """`a=name:key value` as (key, value)."""
    split = (attribute.value.partition(" ") for attribute in media.all(name))
    return [(key, value) for key, _, value in split]
