# SPDX-License-Identifier: Apache-2.0
"""The websocket protocol, message by message; `docs/protocol.md` tells what they mean. JSON text frames, tagged by
`type`.

Decoding is strict: wrong types, missing fields and unknown fields are errors. Strings and lists are bounded here,
numbers as far as they have a range.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

PROTOCOL_VERSION: Final = 1

# An offer with 49 video sections of Chromium is 247 kB.
MAX_MESSAGE_BYTES: Final = 512 * 1024

SourceName = Literal["camera", "microphone", "screen_share", "screen_share_audio"]

RequestId = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""What JavaScript counts with."""
Name = Annotated[str, Meta(max_length=128)]
RequiredName = Annotated[str, Meta(min_length=1, max_length=128)]
MidName = Annotated[str, Meta(min_length=1, max_length=16)]
EntityId = Annotated[str, Meta(min_length=1, max_length=64)]
Token = Annotated[str, Meta(max_length=32 * 1024)]
"""With 8,192 characters of metadata, which base64 may make three times as many."""
Metadata = Annotated[str, Meta(max_length=8 * 1024)]
AttributeName = Annotated[str, Meta(min_length=1, max_length=128)]
Attributes = Annotated[dict[AttributeName, Annotated[str, Meta(max_length=1024)]], Meta(max_length=32)]
Pixels = Annotated[int, Meta(ge=0, le=65_535)]
Limit = Annotated[float, Meta(ge=1, le=65_535)]
"""In pixels; a fraction is what a browser may well measure."""
LayerIndex = Annotated[int, Meta(ge=0, le=7)]
Fps = Annotated[float, Meta(ge=0, le=1000)]


class LayerInfo(Struct, forbid_unknown_fields=True):
    """One simulcast encoding. Zero: not known."""

    rid: Annotated[str, Meta(max_length=16)] = ""
    width: Pixels = 0
    height: Pixels = 0
    max_bitrate_bps: Annotated[int, Meta(ge=0, le=10**12)] = 0
    max_fps: Fps = 0


class TrackInfo(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a sending section of the offer shows."""

    mid: MidName
    source: SourceName
    name: Name = ""
    muted: bool = False
    layers: Annotated[list[LayerInfo], Meta(max_length=8)] = []
    backup_of: EntityId | None = None


class PublicationInfo(Struct):
    id: str
    number: int
    kind: str
    source: str
    name: str
    muted: bool
    layers: list[LayerInfo]


class ParticipantInfo(Struct, omit_defaults=True):
    """Without `metadata` and `attributes` where there are none."""

    id: str
    identity: str
    name: str
    publications: list[PublicationInfo]
    metadata: str = ""
    attributes: dict[str, str] = {}


class PermissionsInfo(Struct):
    can_publish: bool
    can_publish_sources: list[str] | None
    can_subscribe: bool
    can_publish_data: bool
    can_update_metadata: bool
    hidden: bool
    room_admin: bool


# --- client to server


class Request(Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """Every request may carry an id; the response echoes it."""

    id: RequestId | None = None


class Join(Request, tag="join"):
    version: int
    room: RequiredName
    name: Name = ""
    identity: Name | None = None
    token: Token | None = None


class Offer(Request, tag="offer"):
    sdp: Annotated[str, Meta(max_length=MAX_MESSAGE_BYTES)]
    tracks: Annotated[list[TrackInfo], Meta(max_length=128)] = []


class Mute(Request, tag="mute"):
    publication: EntityId
    muted: bool


class Unpublish(Request, tag="unpublish"):
    publication: EntityId


class Subscription(Request, tag="subscription"):
    """The whole wish: what is left out or null is without limit."""

    publication: EntityId
    paused: bool = False
    max_width: Limit | None = None
    max_height: Limit | None = None
    max_spatial: LayerIndex | None = None
    max_temporal: LayerIndex | None = None
    max_fps: Fps | None = None
    slot: MidName | None = None
    selected: bool = False


class Update(Request, tag="update"):
    """What is left out stays as it is."""

    name: RequiredName | None = None
    metadata: Metadata | None = None
    attributes: Attributes | None = None


class Leave(Request, tag="leave"):
    pass


class Ping(Request, tag="ping"):
    pass


ClientMessage = Join | Offer | Mute | Unpublish | Subscription | Update | Leave | Ping
REQUEST_TYPES: Final = frozenset({"join", "offer", "mute", "unpublish", "subscription", "update", "leave", "ping"})


# --- server to client


class Message(Struct, tag_field="type", kw_only=True):
    pass


class Response(Message, kw_only=True, omit_defaults=True):
    """`id` is the request's; absent if it had none."""

    id: int | msgspec.UnsetType = msgspec.UNSET


class Joined(Response, tag="joined"):
    participant: str
    identity: str
    room: str
    participants: list[Raw]
    """Each a `ParticipantInfo`."""
    permissions: PermissionsInfo
    video_codecs: list[str]
    allowed_video_codecs: list[str]
    max_bitrate_bps: dict[str, int] = {}
    """By source."""


class AnswerPublication(Struct):
    mid: str
    id: str
    number: int


class AnswerSlot(Struct):
    mid: str
    kind: str
    pair: int | None


class Answer(Response, tag="answer"):
    sdp: str
    publications: list[AnswerPublication]
    slots: list[AnswerSlot]


class Ok(Response, tag="ok"):
    pass


class Pong(Response, tag="pong"):
    pass


class Error(Response, tag="error"):
    """With `id`: the answer to that request. Without: about the session. `fatal`: the server closes it."""

    code: str
    message: str
    advice: str
    fatal: bool


class ParticipantJoined(Message, tag="participant_joined"):
    participant: Raw
    """A `ParticipantInfo`."""


class ParticipantLeft(Message, tag="participant_left"):
    participant: str
    reason: str


class ParticipantUpdated(Message, tag="participant_updated"):
    participant: Raw
    """A `ParticipantInfo`."""


class PermissionsChanged(Message, tag="permissions_changed"):
    permissions: PermissionsInfo


class Published(Message, tag="published"):
    participant: str
    publication: PublicationInfo


class Unpublished(Message, tag="unpublished"):
    participant: str
    publication: str


class PublicationUpdated(Message, tag="publication_updated"):
    participant: str
    publication: PublicationInfo


class SlotBound(Message, tag="slot"):
    mid: str
    publication: str | None
    number: int | None
    generation: int
    rtp_timestamp: int | None


class LayerChanged(Message, tag="layer"):
    publication: str
    mid: str
    spatial: int
    temporal: int


class SubscriptionPaused(Message, tag="subscription_paused"):
    publication: str
    paused: bool
    reason: str | None


class LayerDemand(Struct):
    rid: str
    active: bool


class PublishLayers(Message, tag="publish_layers", omit_defaults=True):
    publication: str
    layers: list[LayerDemand]
    backup: bool = False


class PublishBackup(Message, tag="publish_backup"):
    publication: str
    codec: str


class QualityInfo(Struct):
    id: str
    score: int | None


class Quality(Message, tag="quality"):
    participants: list[QualityInfo]


class Speakers(Message, tag="speakers"):
    participants: list[str]


class Closing(Message, tag="closing"):
    reason: str
    retry_after_ms: int | None


class ProtocolError(Exception):
    """Something a client sent cannot be taken. Becomes an `error` message."""

    def __init__(
        self, code: str, message: str, advice: str, *, request_id: int | None = None, fatal: bool = False
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.advice: Final = advice
        self.fatal: Final = fatal
        self.request_id: Final = request_id

    def as_message(self) -> Error:
        return Error(
            id=msgspec.UNSET if self.request_id is None else self.request_id,
            code=self.code,
            message=self.message,
            advice=self.advice,
            fatal=self.fatal,
        )


class _Envelope(Struct):
    """What is looked at when a message could not be decoded: enough to answer it."""

    type: object = None
    id: object = None


_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def encode(message: Message) -> str:
    return _encoder.encode(message).decode()


def encoded(part: Struct) -> Raw:
    """To be put into messages."""
    return Raw(_encoder.encode(part))


def decode(text: str) -> ClientMessage:
    """ProtocolError, with the request's id if there is one to be read."""
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(text, error) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _not_json(error) from None


def _not_json(error: Exception) -> ProtocolError:
    return ProtocolError("bad_json", f"this is not JSON: {error}", "send one JSON object per text frame")


def _explain(text: str, error: msgspec.ValidationError) -> ProtocolError:
    try:
        envelope = _envelope_decoder.decode(text)
    except msgspec.ValidationError:
        return ProtocolError("bad_message", "a message is a JSON object", 'send {"type": ..., "id": ..., ...}')
    except (msgspec.DecodeError, UnicodeError, RecursionError) as broken:
        return _not_json(broken)
    identifier = envelope.id
    request_id = identifier if isinstance(identifier, int) and not isinstance(identifier, bool) else None
    if request_id is not None and not 0 <= request_id < 2**53:
        request_id = None
    if not isinstance(envelope.type, str) or envelope.type not in REQUEST_TYPES:
        shown = repr(envelope.type)[:60]
        types = ", ".join(sorted(REQUEST_TYPES))
        return ProtocolError(
            "unknown_type", f"there is no request of the type {shown}", f"requests are: {types}", request_id=request_id
        )
    return ProtocolError(
        "bad_message", f"{envelope.type}: {error}", "compare it with docs/protocol.md", request_id=request_id
    )
