# SPDX-License-Identifier: Apache-2.0
"""A participant together with its media and with who listens for it: the unit that a conductor works on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from sfu.rooms.events import LayerChanged, ParticipantEvent, SlotBound
from sfu.rooms.media import ParticipantMedia, SentTrack, SlotState
from sfu.rooms.model import Mid, Participant, Publication, PublicationId
from sfu.transport.dtls import TransportState

logger = logging.getLogger(__name__)

Listener = Callable[[ParticipantEvent], None]


@dataclass(slots=True, eq=False)
class Member:
    """Implements `MediaObserver` for its own media; what concerns the whole room goes on to the conductor."""

    participant: Participant
    listener: Listener
    on_transport_state: Callable[[Member, TransportState], None]
    on_live_layers: Callable[[Member, SentTrack], None]
    on_link_estimate: Callable[[Member, int, int], None]
    media: ParticipantMedia = field(init=False)
    published: dict[Mid, Publication] = field(default_factory=dict)
    bound: dict[Mid, Publication] = field(default_factory=dict)
    """What each of its slots shows."""
    backups: dict[Mid, Publication] = field(default_factory=dict)
    """Sections in which a publication is sent in another codec as well, for who cannot decode the first."""
    backups_asked: set[PublicationId] = field(default_factory=set)
    """Of which a backup was asked since the last offer."""
    silenced: set[Mid] = field(default_factory=set)
    """Sections that still could send, but were unpublished by message."""
    undecodable: set[PublicationId] = field(default_factory=set)
    signalled: bool = True
    """The websocket (or whatever its door is) is there."""
    deadline_us: int | None = None
    """When to give it up, unless it comes back."""

    def tell(self, event: ParticipantEvent) -> None:
        try:
            self.listener(event)
        except Exception:  # one participant's trouble must not cost the others their events
            logger.exception("listener of %s failed", self.participant.id)

    def track_of(self, publication: Publication) -> SentTrack | None:
        """The engine's track behind one of this member's own publications."""
        return next((self.media.tracks.get(mid) for mid, one in self.published.items() if one is publication), None)

    def publication_of(self, track: SentTrack) -> Publication | None:
        return self.published.get(track.section.mid) or self.backups.get(track.section.mid)

    def backups_of(self, publication: Publication) -> list[SentTrack]:
        return [self.media.tracks[mid] for mid, one in self.backups.items() if one is publication]

    def tell_slot(self, state: SlotState, rtp_timestamp: int | None = None) -> None:
        mid = state.slot.mid
        self.tell(SlotBound(mid, self.bound.get(mid), state.generation, rtp_timestamp))

    def on_transport(self, state: TransportState) -> None:
        self.on_transport_state(self, state)

    def on_estimate(self, rate_bps: int, congestion: int) -> None:
        self.on_link_estimate(self, rate_bps, congestion)

    def on_live(self, track: SentTrack) -> None:
        self.on_live_layers(self, track)

    def on_started(self, slot: SlotState, rtp_timestamp: int) -> None:
        self.tell_slot(slot, rtp_timestamp)

    def on_layer(self, slot: SlotState, spatial: int, temporal: int) -> None:
        publication = self.bound.get(slot.slot.mid)
        if publication is not None:
            self.tell(LayerChanged(publication, slot.slot.mid, spatial, temporal))
