# SPDX-License-Identifier: Apache-2.0
"""Between the rooms' objects and the protocol's messages. No decisions, and no state but what saves doing it again."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from sfu.rooms import events
from sfu.rooms.conductor import Answer, Conductor, OfferedTrack
from sfu.rooms.member import Member
from sfu.rooms.model import Layer, LeaveReason, Participant, Permissions, Publication, Source, Wish
from signaling.ws import messages

# When a client may come back after a `closing`: at once, after the restart of a server, or not by itself.
RETRY_AFTER_MS: Final = {LeaveReason.LOST: 0, LeaveReason.SHUTDOWN: 1000}


def participant_info(participant: Participant) -> Raw:
    """Encoded: who joins is told of everybody, and in a crowd nearly all are the same in each list."""
    known = participant.described
    if isinstance(known, Raw):
        return known
    info = messages.ParticipantInfo(
        id=participant.id,
        identity=participant.identity,
        name=participant.name,
        publications=[publication_info(one) for one in participant.publications.values()],
        metadata=participant.metadata,
        attributes=dict(participant.attributes),
    )
    participant.described = encoded = messages.encoded(info)
    return encoded


def permissions_info(permissions: Permissions) -> messages.PermissionsInfo:
    sources = permissions.can_publish_sources
    return messages.PermissionsInfo(
        can_publish=permissions.can_publish,
        can_publish_sources=None if sources is None else sorted(sources),
        can_subscribe=permissions.can_subscribe,
        can_publish_data=permissions.can_publish_data,
        can_update_metadata=permissions.can_update_metadata,
        hidden=permissions.hidden,
        room_admin=permissions.room_admin,
    )


def publication_info(publication: Publication) -> messages.PublicationInfo:
    return messages.PublicationInfo(
        id=publication.id,
        number=publication.number,
        kind=publication.kind,
        source=publication.source,
        name=publication.name,
        muted=publication.muted,
        layers=[
            messages.LayerInfo(layer.rid, layer.width, layer.height, layer.max_bitrate_bps, layer.max_fps)
            for layer in publication.layers
        ],
    )


def offered_tracks(tracks: list[messages.TrackInfo]) -> dict[str, OfferedTrack]:
    return {
        track.mid: OfferedTrack(
            source=Source(track.source),
            name=track.name,
            muted=track.muted,
            backup_of=track.backup_of,
            layers=tuple(
                Layer(layer.rid, layer.width, layer.height, layer.max_bitrate_bps, layer.max_fps)
                for layer in track.layers
            ),
        )
        for track in tracks
    }


def wish(message: messages.Subscription) -> Wish:
    return Wish(
        paused=message.paused,
        max_width=None if message.max_width is None else int(message.max_width),
        max_height=None if message.max_height is None else int(message.max_height),
        max_spatial=message.max_spatial,
        max_temporal=message.max_temporal,
        max_fps=message.max_fps,
        slot=message.slot,
        selected=message.selected,
    )


def joined(conductor: Conductor, member: Member, request: messages.Request) -> messages.Joined:
    own = member.participant
    return messages.Joined(
        **echo(request),
        participant=own.id,
        identity=own.identity,
        room=conductor.room.name,
        participants=[participant_info(one) for one in conductor.room.visible(own)],
        permissions=permissions_info(own.permissions),
        video_codecs=list(conductor.video_codecs),
        allowed_video_codecs=list(conductor.rules.video_codecs),
        max_bitrate_bps={source.value: limit for source, limit in conductor.rules.max_bitrate_bps.items()},
    )


def answer(agreed: Answer, request: messages.Request) -> messages.Answer:
    return messages.Answer(
        **echo(request),
        sdp=agreed.sdp,
        publications=[messages.AnswerPublication(mid, one.id, one.number) for mid, one in agreed.publications],
        slots=[messages.AnswerSlot(one.slot.mid, one.slot.kind, one.slot.pair) for one in agreed.slots],
    )


def echo(request: messages.Request) -> dict[str, int]:
    """The id to respond with, as keyword arguments."""
    return {} if request.id is None else {"id": request.id}


def event(happened: events.ParticipantEvent) -> tuple[messages.Message, ...]:
    """A message for each thing that happened, in their order."""
    if isinstance(happened, events.RosterChanged):
        return tuple(_event(one) for one in happened.changes)
    return (_media_event(happened) if isinstance(happened, events.MediaEvent) else _event(happened),)


def _event(
    happened: events.RoomEvent | events.SpeakersChanged | events.PermissionsChanged | events.MediaLost | events.Removed,
) -> messages.Message:
    match happened:
        case events.ParticipantJoined(participant):
            return messages.ParticipantJoined(participant=participant_info(participant))
        case events.ParticipantLeft(participant, reason):
            return messages.ParticipantLeft(participant=participant.id, reason=reason)
        case events.ParticipantUpdated(participant):
            return messages.ParticipantUpdated(participant=participant_info(participant))
        case events.PermissionsChanged(permissions):
            return messages.PermissionsChanged(permissions=permissions_info(permissions))
        case events.Published(publication):
            return messages.Published(participant=publication.participant.id, publication=publication_info(publication))
        case events.Unpublished(publication):
            return messages.Unpublished(participant=publication.participant.id, publication=publication.id)
        case events.PublicationUpdated(publication):
            return messages.PublicationUpdated(
                participant=publication.participant.id, publication=publication_info(publication)
            )
        case events.SpeakersChanged(participants):
            return messages.Speakers(participants=[one.id for one in participants])
        case events.MediaLost():
            return messages.Error(
                code="media_lost",
                message="the media connection failed",
                advice="make a new RTCPeerConnection and send its offer",
                fatal=False,
            )
        case events.Removed(reason):
            return messages.Closing(reason=reason, retry_after_ms=RETRY_AFTER_MS.get(reason))


def _media_event(happened: events.MediaEvent) -> messages.Message:
    match happened:
        case events.SlotBound(mid, bound, generation, rtp_timestamp):
            return messages.SlotBound(
                mid=mid,
                publication=None if bound is None else bound.id,
                number=None if bound is None else bound.number,
                generation=generation,
                rtp_timestamp=rtp_timestamp,
            )
        case events.LayerChanged(publication, mid, spatial, temporal):
            return messages.LayerChanged(publication=publication.id, mid=mid, spatial=spatial, temporal=temporal)
        case events.SubscriptionPaused(publication, paused, pause_reason):
            return messages.SubscriptionPaused(publication=publication.id, paused=paused, reason=pause_reason)
        case events.PublishLayers(publication, layers, backup):
            return messages.PublishLayers(
                publication=publication.id,
                layers=[messages.LayerDemand(rid, active) for rid, active in layers],
                backup=backup,
            )
        case events.BackupWanted(publication, codec):
            return messages.PublishBackup(publication=publication.id, codec=codec)
        case events.QualityChanged(scores):
            return messages.Quality(participants=[messages.QualityInfo(one.id, score) for one, score in scores])
