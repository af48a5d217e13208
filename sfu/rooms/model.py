# SPDX-License-Identifier: Apache-2.0
"""The nouns of a room: participants, what they publish, what a receiver wishes of it. Data; `room` has the rules."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

ParticipantId = str
PublicationId = str
Mid = str


class Kind(enum.StrEnum):
    AUDIO = "audio"
    VIDEO = "video"


class Source(enum.StrEnum):
    """What a publication shows. A participant has at most one camera, one microphone and so on in the common case."""

    CAMERA = "camera"
    MICROPHONE = "microphone"
    SCREEN_SHARE = "screen_share"
    SCREEN_SHARE_AUDIO = "screen_share_audio"

    @property
    def kind(self) -> Kind:
        return Kind.AUDIO if self is Source.MICROPHONE or self is Source.SCREEN_SHARE_AUDIO else Kind.VIDEO


class LeaveReason(enum.StrEnum):
    """Why a participant is gone."""

    LEFT = "left"
    """Said so, or closed its websocket cleanly."""
    REPLACED = "replaced"
    """The same identity joined anew."""
    LOST = "lost"
    """Neither websocket nor media for the consent time."""
    REMOVED = "removed"
    """Sent out by an administrator."""
    SHUTDOWN = "shutdown"
    """The server stops."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One simulcast encoding. Zero: not known."""

    rid: str = ""
    width: int = 0
    height: int = 0
    max_bitrate_bps: int = 0
    max_fps: float = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Wish:
    """What one receiver wants of one publication. None: no limit."""

    paused: bool = False
    max_width: int | None = None
    max_height: int | None = None
    max_spatial: int | None = None
    max_temporal: int | None = None
    max_fps: float | None = None
    slot: Mid | None = None
    """The very slot to bind it to."""
    selected: bool = False
    """It is on the receiver's stage: served before the others where bandwidth is short."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a participant may do. Enforced here, whatever its client believes."""

    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_publish_sources: frozenset[Source] | None = None
    """Of `can_publish`, only these. None: all."""
    can_update_metadata: bool = False
    """Its own name, metadata and attributes."""
    hidden: bool = False
    """The others never hear of it; so it publishes nothing."""
    room_admin: bool = False
    """It may mute others."""

    def may_publish(self, source: Source) -> bool:
        named = self.can_publish_sources is None or source in self.can_publish_sources
        return self.can_publish and named and not self.hidden


@dataclass(slots=True, eq=False)
class Publication:
    """A published track. `number` is its CSRC on the wire: non-zero, 32 bits, unique in the room while it lives."""

    id: PublicationId
    number: int
    participant: Participant
    source: Source
    order: int
    """Counts up over the room's life."""
    name: str = ""
    muted: bool = False
    stopped: bool = False
    """Muted by somebody else: nothing of it is forwarded until its publisher unmutes it."""
    layers: tuple[Layer, ...] = ()
    """Lowest first."""

    @property
    def kind(self) -> Kind:
        return self.source.kind


@dataclass(slots=True, eq=False)
class Participant:
    id: ParticipantId
    identity: str
    name: str
    permissions: Permissions
    order: int
    """Join order: counts up over the room's life."""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    publications: dict[PublicationId, Publication] = field(default_factory=dict)
    wishes: dict[PublicationId, Wish] = field(default_factory=dict)
    """Only those that differ from the default, and only of living publications."""
    described: object = None
    """A door's own: what it made of the above for others. The room takes it away when that has changed."""

    def wish(self, publication: PublicationId) -> Wish:
        return self.wishes.get(publication, NO_WISH)


NO_WISH = Wish()
