# SPDX-License-Identifier: Apache-2.0
"""The server's messages as this client reads them (docs/protocol.md). Fields that it has no use for are not named."""

from __future__ import annotations

from typing import Any

import msgspec

PROTOCOL_VERSION = 1


class Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One simulcast encoding of a publication."""

    rid: str = ""
    width: int = 0
    height: int = 0
    max_bitrate_bps: int = 0
    max_fps: float = 0


class Publication(msgspec.Struct, frozen=True):
    """What somebody publishes. `number` is the CSRC of its packets."""

    id: str
    number: int
    kind: str
    source: str
    name: str = ""
    muted: bool = False
    layers: tuple[Layer, ...] = ()


class Participant(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    identity: str = ""
    publications: tuple[Publication, ...] = ()


class Joined(msgspec.Struct, frozen=True, tag_field="type", tag="joined"):
    participant: str
    participants: tuple[Participant, ...] = ()


class PublishedMedia(msgspec.Struct, frozen=True):
    """Our own section `mid` became that publication."""

    mid: str
    id: str
    number: int


class Slot(msgspec.Struct, frozen=True):
    """A section that we receive in; an audio and a video slot of one `pair` belong to one participant at a time."""

    mid: str
    kind: str
    pair: int | None = None


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag="answer"):
    sdp: str
    publications: tuple[PublishedMedia, ...] = ()
    slots: tuple[Slot, ...] = ()


class Ok(msgspec.Struct, frozen=True, tag_field="type", tag="ok"):
    pass


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    pass


class ParticipantJoined(msgspec.Struct, frozen=True, tag_field="type", tag="participant_joined"):
    participant: Participant


class ParticipantLeft(msgspec.Struct, frozen=True, tag_field="type", tag="participant_left"):
    participant: str
    reason: str = ""


class Published(msgspec.Struct, frozen=True, tag_field="type", tag="published"):
    participant: str
    publication: Publication


class Unpublished(msgspec.Struct, frozen=True, tag_field="type", tag="unpublished"):
    publication: str


class PublicationUpdated(msgspec.Struct, frozen=True, tag_field="type", tag="publication_updated"):
    publication: Publication


class SlotBound(msgspec.Struct, frozen=True, tag_field="type", tag="slot"):
    """Slot `mid` shows that publication (none: nothing) from the packet with `rtp_timestamp` on."""

    mid: str
    publication: str | None = None
    number: int | None = None
    generation: int = 0
    rtp_timestamp: int | None = None


class LayerChanged(msgspec.Struct, frozen=True, tag_field="type", tag="layer"):
    publication: str
    mid: str
    spatial: int
    temporal: int


class SubscriptionPaused(msgspec.Struct, frozen=True, tag_field="type", tag="subscription_paused"):
    """Nothing of a publication is sent to us for now, or something is again."""

    publication: str
    paused: bool
    reason: str | None = None


class LayerDemand(msgspec.Struct, frozen=True):
    rid: str
    active: bool


class PublishLayers(msgspec.Struct, frozen=True, tag_field="type", tag="publish_layers"):
    """Which layers of our own publication somebody receives."""

    publication: str
    layers: tuple[LayerDemand, ...] = ()
    backup: bool = False


class PublishBackup(msgspec.Struct, frozen=True, tag_field="type", tag="publish_backup"):
    """Somebody cannot decode our own publication: it is wanted in that codec as well."""

    publication: str
    codec: str


class ParticipantQuality(msgspec.Struct, frozen=True):
    id: str
    score: int


class Quality(msgspec.Struct, frozen=True, tag_field="type", tag="quality"):
    """How good the connections of these participants are: 1 (bad) to 5."""

    participants: tuple[ParticipantQuality, ...] = ()


class Speakers(msgspec.Struct, frozen=True, tag_field="type", tag="speakers"):
    participants: tuple[str, ...] = ()


class Closing(msgspec.Struct, frozen=True, tag_field="type", tag="closing"):
    reason: str = ""
    retry_after_ms: int | None = None


class ErrorMessage(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    code: str = "error"
    message: str = ""
    advice: str = ""
    fatal: bool = False


Response = Joined | Answer | Ok | Pong | ErrorMessage
Event = (
    ParticipantJoined
    | ParticipantLeft
    | Published
    | Unpublished
    | PublicationUpdated
    | SlotBound
    | LayerChanged
    | SubscriptionPaused
    | PublishLayers
    | PublishBackup
    | Quality
    | Speakers
    | Closing
    | ErrorMessage
)

_TYPES: dict[str, Any] = {
    "joined": Joined,
    "answer": Answer,
    "ok": Ok,
    "pong": Pong,
    "participant_joined": ParticipantJoined,
    "participant_left": ParticipantLeft,
    "published": Published,
    "unpublished": Unpublished,
    "publication_updated": PublicationUpdated,
    "slot": SlotBound,
    "layer": LayerChanged,
    "subscription_paused": SubscriptionPaused,
    "publish_layers": PublishLayers,
    "publish_backup": PublishBackup,
    "quality": Quality,
    "speakers": Speakers,
    "closing": Closing,
    "error": ErrorMessage,
}


class Envelope(msgspec.Struct, frozen=True):
    """What every message has; responses carry the request's id."""

    type: str
    id: int | None = None


def decode(text: str | bytes) -> tuple[int | None, Response | Event | None]:
    """(request id, message); the message is None where the type is unknown: newer servers may say more.

    msgspec.DecodeError where a message is not what the protocol says.
    """
    envelope = msgspec.json.decode(text, type=Envelope)
    wanted = _TYPES.get(envelope.type)
    return envelope.id, None if wanted is None else msgspec.json.decode(text, type=wanted)
