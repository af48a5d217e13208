# SPDX-License-Identifier: Apache-2.0
"""What happens in a room, for the doors to translate into their protocols."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sfu.rooms.model import LeaveReason, Mid, Participant, Permissions, Publication


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    participant: Participant
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class ParticipantUpdated:
    """Its name, its metadata or its attributes."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class Published:
    publication: Publication


@dataclass(frozen=True, slots=True)
class Unpublished:
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublicationUpdated:
    """Muted, renamed, or with other layers."""

    publication: Publication


RosterChange = ParticipantJoined | ParticipantLeft | ParticipantUpdated
"""Who is there."""

RoomEvent = RosterChange | Published | Unpublished | PublicationUpdated
"""Of a room: all participants but the one it is about hear of it. That one hears of it too where others caused it."""


@dataclass(frozen=True, slots=True)
class RosterChanged:
    """In a crowd several changes come together, in their order."""

    changes: tuple[RosterChange, ...]


@dataclass(frozen=True, slots=True)
class SlotBound:
    """A slot of this participant shows another publication (None: nothing) from the packet with `rtp_timestamp` on.

    Comes at the bind without the timestamp, and again with it when the first packet has left.
    """

    mid: Mid
    publication: Publication | None
    generation: int
    rtp_timestamp: int | None


@dataclass(frozen=True, slots=True)
class LayerChanged:
    """Another layer flows into a slot of this participant."""

    publication: Publication
    mid: Mid
    spatial: int
    temporal: int


class PauseReason(enum.StrEnum):
    """Why a subscription gets nothing although it is wished for."""

    BANDWIDTH = "bandwidth"
    """Not even the lowest layer fits the receiver's link."""
    OVERLOAD = "overload"
    """The server cannot carry it now."""


@dataclass(frozen=True, slots=True)
class SubscriptionPaused:
    """Nothing of a publication is sent to this participant for now, or something is again (then without a reason)."""

    publication: Publication
    paused: bool
    reason: PauseReason | None


@dataclass(frozen=True, slots=True)
class PublishLayers:
    """Which layers of its own publication this participant should send: the others nobody receives."""

    publication: Publication
    layers: tuple[tuple[str, bool], ...]
    """(rid, active), in the order of the publication's layers; one with an empty rid where there are no rids."""
    backup: bool = False
    """They are those of its backup."""


@dataclass(frozen=True, slots=True)
class BackupWanted:
    """Somebody cannot decode this participant's publication: it should send it in that codec as well."""

    publication: Publication
    codec: str


@dataclass(frozen=True, slots=True)
class QualityChanged:
    """How good the connections of these participants are: 1 (bad) to 5. None: it is not told any more."""

    scores: tuple[tuple[Participant, int | None], ...]


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    """Who speaks now, the dominant speaker first."""

    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class PermissionsChanged:
    """What this participant may do has changed, and holds already."""

    permissions: Permissions


@dataclass(frozen=True, slots=True)
class MediaLost:
    """This participant's transport failed. A new PeerConnection and a new offer bring its media back."""


@dataclass(frozen=True, slots=True)
class Removed:
    """This participant is out of the room. Nothing comes after it."""

    reason: LeaveReason


MediaEvent = SlotBound | LayerChanged | SubscriptionPaused | PublishLayers | BackupWanted | QualityChanged
"""Of what one participant receives and sends."""

ParticipantEvent = RoomEvent | RosterChanged | MediaEvent | SpeakersChanged | PermissionsChanged | MediaLost | Removed
"""What one participant's listener hears."""
