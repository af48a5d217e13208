# SPDX-License-Identifier: Apache-2.0
"""Offer in, answer out (JSEP, RFC 9429; BUNDLE, RFC 8843), as pure functions.

The client offers, the server answers; one bundled transport, ICE-lite, all candidates in the answer. What a section is
good for stands in `MediaSection`; this module adds what belongs to the connection as a whole, and writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sfu.sdp.codecs import VIDEO_CODECS, Codec
from sfu.sdp.document import SdpError, Section, SessionDescription
from sfu.sdp.media import Direction, Kind, MediaSection, payload_map, read_sections

__all__ = [
    "Codec",
    "Direction",
    "Kind",
    "LocalTransport",
    "MediaSection",
    "Offer",
    "OfferChanges",
    "SdpError",
    "SlotMedia",
    "compare_offers",
    "parse_offer",
    "payload_map",
    "write_answer",
]

Setup = Literal["actpass", "active", "passive"]

MAX_FINGERPRINTS = 8
_ICE_UFRAG = re.compile(r"[!-~]{4,256}")  # RFC 8839 §5.4; clients use more characters than its ice-char
_ICE_PASSWORD = re.compile(r"[!-~]{22,256}")
_FINGERPRINT = re.compile(r"([!-~]{1,32}) ((?:[0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2})")
_UNSAFE_IN_LINE = re.compile(r"[\x00-\x20]")

# A refused section carries no media: the discard port is only a formality of the address line.
_DISCARD_PORT = 9
_NO_ADDRESS = "IN IP4 0.0.0.0"
_OUR_DIRECTION: Mapping[Direction, str] = {"publish": "recvonly", "receive": "sendonly", "inactive": "inactive"}


@dataclass(frozen=True)
class Offer:
    """What a client wants, and how to reach and recognise it."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]  # (algorithm in lower case, value in upper case)
    setup: Setup
    sections: tuple[MediaSection, ...]
    bundle: tuple[str, ...]  # mids in the group's order, the sections that we refuse included
    extmap_allow_mixed: bool = False

    @property
    def answer_setup(self) -> Literal["active", "passive"]:
        """We are the DTLS server, whose order of SRTP profiles counts, unless the client insists on being it."""
        return "active" if self.setup == "passive" else "passive"

    @property
    def transport_mid(self) -> str | None:
        """The section that carries the transport of all: the first of the group in use (RFC 8843 §7.3.1)."""
        in_use = {section.mid for section in self.sections if not section.rejected}
        return next((mid for mid in self.bundle if mid in in_use), None)


@dataclass(frozen=True)
class LocalTransport:
    """Our end: candidates are lines without "a=", the preferred one first; `session_id` is the same in every answer."""

    ufrag: str
    password: str
    fingerprint: str
    candidates: tuple[str, ...]
    session_id: int = 1


@dataclass(frozen=True)
class SlotMedia:
    """What flows in a receive section, whoever is bound to it."""

    ssrc: int
    rtx_ssrc: int | None
    stream_id: str
    track_id: str
    cname: str

    def __post_init__(self) -> None:
        for value in (self.stream_id, self.track_id, self.cname):
            if not value or _UNSAFE_IN_LINE.search(value):
                raise ValueError(f"{value!r} cannot stand in a session description: no blanks or control characters")


@dataclass(frozen=True)
class OfferChanges:
    """What a new offer of the same connection changes. `added` and `removed` speak of sections that are in use.

    The DTLS association is made anew with another certificate, and also when the transport is that of a new section:
    Chromium does so, certificate unchanged, when a page stops its first transceiver and the place is used again.
    """

    ice_restart: bool
    dtls_restart: bool
    added: tuple[MediaSection, ...]
    removed: tuple[MediaSection, ...]
    changed: tuple[tuple[MediaSection, MediaSection], ...]  # (before, now): direction, codecs, layers, ...


# --- reading


def parse_offer(sdp: str, video_codecs: Sequence[str] = VIDEO_CODECS) -> Offer:
    """`video_codecs`: what may be published; others are left out of the answer."""
    description = SessionDescription.parse(sdp)
    if not description.media:
        raise SdpError(None, "an offer without media sections", "add a transceiver before createOffer()")
    sections = read_sections(description, video_codecs)
    bundle = _read_bundle(description)
    transport = _transport_section(description, sections, bundle)
    ufrag, password = _read_ice(transport, description.session)
    return Offer(
        ufrag,
        password,
        fingerprints=_read_fingerprints(transport, description.session),
        setup=_read_setup(transport, description.session),
        sections=sections,
        bundle=bundle,
        extmap_allow_mixed=description.session.has("extmap-allow-mixed"),
    )


def _read_bundle(description: SessionDescription) -> tuple[str, ...]:
    groups = [group.value.split() for group in description.session.all("group")]
    bundle = next((tuple(dict.fromkeys(words[1:])) for words in groups if words[:1] == ["BUNDLE"]), ())
    for media in description.media:
        if media.rejected:
            continue
        mid = media.first("mid")
        if mid is None or mid.value not in bundle:
            raise SdpError(
                media.first_line,
                "a media section outside of the BUNDLE group",
                "the server has one transport per client: all sections belong in one BUNDLE group",
            )
        if media.media in ("audio", "video") and not (media.has("rtcp-mux") or media.has("rtcp-mux-only")):
            raise SdpError(media.first_line, "a media section without a=rtcp-mux", "use rtcpMuxPolicy 'require'")
    return bundle


def _transport_section(
    description: SessionDescription, sections: Sequence[MediaSection], bundle: Sequence[str]
) -> Section:
    """The section whose transport is used: that of the first in the group which we accept (RFC 8843 §7.3.1)."""
    by_mid = {section.mid: section for section in sections if section.mid}
    in_group = [by_mid[mid].index for mid in bundle if mid in by_mid]
    accepted = [index for index in in_group if not sections[index].rejected]
    with_ice = [index for index, media in enumerate(description.media) if media.has("ice-ufrag")]
    candidates = [*accepted, *in_group, *with_ice]
    return description.media[candidates[0]] if candidates else description.session


def _read_ice(transport: Section, session: Section) -> tuple[str, str]:
    values = []
    for name, pattern in (("ice-ufrag", _ICE_UFRAG), ("ice-pwd", _ICE_PASSWORD)):
        attribute = transport.first(name) or session.first(name)
        if attribute is None:
            raise SdpError(transport.first_line, f"no a={name}", "the offer needs ICE credentials")
        if not pattern.fullmatch(attribute.value):
            raise SdpError(attribute.line, f"malformed a={name}", "see RFC 8839, section 5.4")
        values.append(attribute.value)
    return values[0], values[1]


def _read_fingerprints(transport: Section, session: Section) -> tuple[tuple[str, str], ...]:
    attributes = transport.all("fingerprint") or session.all("fingerprint")
    fingerprints = []
    for attribute in attributes[:MAX_FINGERPRINTS]:
        match = _FINGERPRINT.fullmatch(attribute.value.strip())
        if match is None:
            raise SdpError(attribute.line, "malformed a=fingerprint", "expected '<hash> <hexadecimal pairs>'")
        fingerprints.append((match[1].lower(), match[2].upper()))
    if not fingerprints:
        raise SdpError(transport.first_line, "no a=fingerprint", "media is only carried over DTLS-SRTP")
    return tuple(dict.fromkeys(fingerprints))


def _read_setup(transport: Section, session: Section) -> Setup:
    attribute = transport.first("setup") or session.first("setup")
    match attribute.value.strip() if attribute is not None else "actpass":
        case "actpass":
            return "actpass"
        case "active":
            return "active"
        case "passive":
            return "passive"
    line = attribute.line if attribute is not None else None
    raise SdpError(line, "a=setup is not usable", "an offer has 'actpass', 'active' or 'passive'")


# --- a further offer


def compare_offers(previous: Offer, offer: Offer) -> OfferChanges:
    """Sections keep their place; only one that was refused or stopped may be given to another mid (RFC 9429 §5.2.2)."""
    if len(offer.sections) < len(previous.sections):
        raise SdpError(
            None,
            f"{len(offer.sections)} media sections where there were {len(previous.sections)}",
            "a section is never taken out: set its port to 0",
        )
    added, removed, changed = [], [], []
    for before, now in zip(previous.sections, offer.sections, strict=False):
        same = (before.mid, before.media) == (now.mid, now.media)
        if not before.rejected and not same and not (now.rejected and now.mid in ("", before.mid)):
            raise SdpError(
                None,
                f"media section {now.index} was {before.media} {before.mid!r} and is {now.media} {now.mid!r}",
                "a section in use keeps its kind and mid: stop it first, append new ones",
            )
        if before.rejected and not now.rejected:
            added.append(now)
        elif now.rejected and not before.rejected:
            removed.append(before)
        elif not now.rejected and before != now:
            changed.append((before, now))
    added.extend(section for section in offer.sections[len(previous.sections) :] if not section.rejected)
    ice_restart = (previous.ufrag, previous.password) != (offer.ufrag, offer.password)
    new_transport = ice_restart and any(section.mid == offer.transport_mid for section in added)
    return OfferChanges(
        ice_restart=ice_restart,
        dtls_restart=new_transport or set(previous.fingerprints) != set(offer.fingerprints),
        added=tuple(added),
        removed=tuple(removed),
        changed=tuple(changed),
    )


# --- writing


def write_answer(offer: Offer, local: LocalTransport, slots: Mapping[str, SlotMedia], session_version: int) -> str:
    """`slots`: what flows in each receive section, by mid; a receive section that is not there is answered inactive."""
    accepted = {section.mid for section in offer.sections if not section.rejected}
    bundle = [mid for mid in offer.bundle if mid in accepted]
    lines = [
        "v=0",
        f"o=- {local.session_id} {session_version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        *([f"a=group:BUNDLE {' '.join(bundle)}"] if bundle else []),
        *(["a=extmap-allow-mixed"] if offer.extmap_allow_mixed else []),
        "a=msid-semantic: WMS *",
        "a=ice-lite",
        "a=ice-options:ice2",
    ]
    default = _default_destination(local.candidates)
    transport = list(_transport_lines(local, offer.answer_setup))
    for section in offer.sections:
        if section.rejected:
            lines.extend(_refused_lines(section))
            continue
        lines.extend(_media_lines(section, default, slots.get(section.mid)))
        lines.extend(transport)
    return "\r\n".join(lines) + "\r\n"


def _refused_lines(section: MediaSection) -> Iterator[str]:
    yield f"m={section.media or section.kind} 0 {section.protocol} {' '.join(_all_formats(section))}"
    yield f"c={_NO_ADDRESS}"
    if section.mid:
        yield f"a=mid:{section.mid}"
    if section.kind != "application":
        yield "a=inactive"


def _all_formats(section: MediaSection) -> Sequence[str]:
    return section.formats or _served_formats(section) or ["0"]


def _served_formats(section: MediaSection) -> list[str]:
    """Each codec followed by its retransmission format; two codecs may share one."""
    numbers = [number for codec in section.codecs for number in (codec.payload_type, codec.rtx_payload_type)]
    return [str(number) for number in dict.fromkeys(numbers) if number is not None]


def _media_lines(section: MediaSection, default: tuple[int, str], slot: SlotMedia | None) -> Iterator[str]:
    """Our side of a section that is in use, without its transport."""
    port, address = default
    direction = _OUR_DIRECTION[section.direction] if section.direction != "receive" or slot else "inactive"
    yield f"m={section.kind} {port} {section.protocol} {' '.join(_served_formats(section))}"
    yield f"c={address}"
    yield f"a=mid:{section.mid}"
    if section.extmap_allow_mixed:
        yield "a=extmap-allow-mixed"
    for identifier, uri in section.extensions.items():
        way = f"/{direction}" if identifier in section.directed_extensions else ""
        yield f"a=extmap:{identifier}{way} {uri}"
    yield f"a={direction}"
    yield "a=rtcp-mux"
    if section.reduced_size_rtcp:
        yield "a=rtcp-rsize"
    for codec in section.codecs:
        yield from codec.answer_lines
    if section.direction == "publish":
        yield from (f"a=rid:{rid} recv" for rid in section.rids)
        if section.simulcast:
            yield f"a=simulcast:recv {';'.join(section.rids)}"
    elif section.direction == "receive" and slot:
        yield from _slot_lines(section, slot)


def _slot_lines(section: MediaSection, slot: SlotMedia) -> Iterator[str]:
    yield f"a=msid:{slot.stream_id} {slot.track_id}"
    rtx_ssrc = slot.rtx_ssrc if any(codec.rtx_payload_type is not None for codec in section.codecs) else None
    if rtx_ssrc is not None:
        yield f"a=ssrc-group:FID {slot.ssrc} {rtx_ssrc}"
    yield f"a=ssrc:{slot.ssrc} cname:{slot.cname}"
    if rtx_ssrc is not None:
        yield f"a=ssrc:{rtx_ssrc} cname:{slot.cname}"


def _transport_lines(local: LocalTransport, setup: str) -> Iterator[str]:
    """In every section, because clients read it in each: aiortc takes the candidates of the bundle's last one, although
    RFC 9143 §7.1.3 wants them in the first only."""
    yield f"a=ice-ufrag:{local.ufrag}"
    yield f"a=ice-pwd:{local.password}"
    yield f"a=fingerprint:{local.fingerprint}"
    yield f"a=setup:{setup}"
    yield from (f"a={candidate}" for candidate in local.candidates)
    yield "a=end-of-candidates"


def _default_destination(candidates: Sequence[str]) -> tuple[int, str]:
    """Port and connection data of the first UDP candidate (RFC 8839 §4.2.1):
    `candidate:<foundation> <component> udp <priority> <address> <port> typ ...`"""
    for candidate in candidates:
        words = candidate.split()
        if len(words) >= 6 and words[2].lower() == "udp" and words[5].isdigit():
            return int(words[5]), f"IN IP{6 if ':' in words[4] else 4} {words[4]}"
    return _DISCARD_PORT, _NO_ADDRESS
