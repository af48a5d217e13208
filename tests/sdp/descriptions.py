# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: captured descriptions, short ones to vary, and our end of a connection."""

from collections.abc import Iterable
from pathlib import Path

from sfu.sdp.negotiation import LocalTransport, MediaSection, Offer, SlotMedia

DATA = Path(__file__).resolve().parent.parent / "data" / "sdp"
CAPTURES = sorted(DATA.glob("*.sdp"))

LOCAL = LocalTransport(
    ufrag="d659da80",
    password="6e3ef6ff3e4fa234890b83f0",
    fingerprint="sha-256 " + ":".join(f"{byte:02X}" for byte in range(32)),
    candidates=(
        "candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host",
        "candidate:2 1 udp 2130706175 2001:db8::7 40000 typ host",
    ),
)

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
TRANSPORT = ("a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901", f"a=fingerprint:{FINGERPRINT}", "a=setup:actpass")

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"

VP8 = (
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 nack",
    "a=rtcp-fb:96 nack pli",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
)
OPUS = ("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1")


def captured(name: str) -> str:
    """The text as it was captured: `read_text` would turn CR LF into LF."""
    return (DATA / f"{name}.sdp").read_bytes().decode()


def video(mid: str, *lines: str, formats: str = "96 97", port: int = 9) -> list[str]:
    return [f"m=video {port} UDP/TLS/RTP/SAVPF {formats}", f"a=mid:{mid}", "a=rtcp-mux", *TRANSPORT, *lines]


def audio(mid: str, *lines: str, formats: str = "111", port: int = 9) -> list[str]:
    return [f"m=audio {port} UDP/TLS/RTP/SAVPF {formats}", f"a=mid:{mid}", "a=rtcp-mux", *TRANSPORT, *lines]


def offer_text(*sections: Iterable[str], session: Iterable[str] = (), bundle: str | None = None) -> str:
    """A description of these sections, all of them in the BUNDLE group unless the test says otherwise."""
    media = [line for section in sections for line in section]
    if bundle is None:
        bundle = " ".join(line.removeprefix("a=mid:") for line in media if line.startswith("a=mid:"))
    group = [f"a=group:BUNDLE {bundle}"] if bundle else []
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", *group, *session, *media]
    return "\r\n".join(lines) + "\r\n"


def slots_of(offer: Offer) -> dict[str, SlotMedia]:
    """Something flows in every receive section."""
    return {section.mid: slot_media(section) for section in offer.sections if section.direction == "receive"}


def slot_media(section: MediaSection) -> SlotMedia:
    rtx_ssrc = 2000 + section.index if section.kind == "video" else None
    return SlotMedia(1000 + section.index, rtx_ssrc, f"pair-{section.index}", f"slot-{section.index}", "server")
