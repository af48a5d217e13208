# SPDX-License-Identifier: Apache-2.0
"""Carries the allocation out for one room: gathers what it depends on, and turns its levels into targets and messages.

A receiver without an estimate has no limit: it gets what it wishes for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sfu.rooms.allocation import OTHER, PAUSED, SCREEN, SELECTED, SPEAKING
from sfu.rooms.budget import Budget
from sfu.rooms.events import PauseReason, SubscriptionPaused
from sfu.rooms.ladder import Ladder, make_ladder
from sfu.rooms.layers import ALL_TEMPORAL, Target, choose_target, limit_target
from sfu.rooms.media import Readings, SentTrack, SlotState
from sfu.rooms.member import Member
from sfu.rooms.model import Kind, Layer, Participant, ParticipantId, Publication, PublicationId, Source, Wish
from sfu.rooms.rates import ASSUMED_BPS, TrackRates
from sfu.rooms.seats import Claim, Ruling, Seat, Standing, Verdict, fits_amply, settled, weighed
from sfu.rooms.shedding import NO_CAPS, Caps
from sfu.rooms.speakers import Speakers

# What the network adds to media (UDP, IP, SRTP) and estimates include: of video's large packets this share, of audio's
# fifty small ones a second so much.
VIDEO_OVERHEAD: Final = 1.05
AUDIO_OVERHEAD_BPS: Final = 16_000
# Of a microphone that has not been measured yet: Opus in browsers.
AUDIO_ASSUMED_BPS: Final = 40_000
# Kept free for whoever begins to speak.
AUDIO_RESERVE_BPS: Final = 50_000

# A receiver whose link carries so many times what it wants is as good as one without a limit.
AMPLE: Final = 1.5
# So long after the beginning a receiver is sent the lowest layers while its first estimate is waited for. Who sends no
# feedback never has one, and is then taken to have no limit.
FIRST_ESTIMATE_US: Final = 2_000_000
# Between two runs for a receiver that has a limit, and for one that has none.
LIMITED_INTERVAL_US: Final = 100_000
FREE_INTERVAL_US: Final = 500_000
# A few milliseconds, in which the loop serves nobody else.
RUN_AT_MOST: Final = 200
# When a crowd enters, layers begin by the hundred: what comes so soon after a run waits for the next tick.
EVENT_INTERVAL_US: Final = 50_000

# Who has plenty is looked at as often as receivers report their losses.
OBSERVE_FREE_US: Final = 1_000_000

# A receiver's rate is believed to be that of its layer when the layer has not changed for so long.
SETTLED_US: Final = 3_000_000

NOTHING: Final = Target(PAUSED, ALL_TEMPORAL)
SOUND: Final = Target(0, ALL_TEMPORAL)
AUDIO_SOURCES: Final = frozenset(source for source in Source if source.kind is Kind.AUDIO)

# Codecs of which browsers send three temporal layers: VP8 with simulcast, the others with several spatial layers.
TEMPORAL_CODECS: Final = frozenset({"VP8", "VP9", "AV1"})

Available = Callable[[SentTrack], int]
"""Which layers of a track can be had."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a wish comes to; it is the same for as long as nothing that it is made from changes."""

    given: tuple[tuple[Layer, ...], int, Wish, Caps]
    target: Target
    desired: int


@dataclass(slots=True)
class _Account:
    """Of one receiver."""

    budget: Budget = field(default_factory=Budget)
    standings: dict[PublicationId, Standing] = field(default_factory=dict)
    choices: dict[PublicationId, _Choice] = field(default_factory=dict)
    paused: dict[PublicationId, Publication] = field(default_factory=dict)
    """What it has been told is paused."""
    satisfaction: float = 1.0
    connected_us: int | None = None
    due_us: int = 0
    ran_us: int | None = None
    observe_due_us: int = 0
    ample: bool = False
    """It has all that it wishes, and its link carries far more."""
    settled: _Run | None = None
    """The last run, if it left nothing to be found out: for as long as that is so, another one would say the same."""


@dataclass(slots=True)
class _Run:
    """One receiver in one run."""

    member: Member
    account: _Account
    seats: list[Seat]
    heard: list[SentTrack]
    audio_bps: int


@dataclass(frozen=True, slots=True)
class _Shown:
    """A video as it is now, the same for all its receivers."""

    layers: tuple[Layer, ...]
    available: int
    ladder: Ladder


_Scene = dict[SentTrack, _Shown]
"""Of one moment."""


class Allocator:
    def __init__(self, speakers: Speakers, available: Available) -> None:
        self._speakers = speakers
        self._available = available
        self._accounts: dict[ParticipantId, _Account] = {}
        self._rates: dict[SentTrack, TrackRates] = {}
        self.caps: Caps = NO_CAPS
        """What the server leaves out for now."""
        self.risen: dict[SentTrack, int] = {}
        """Layers of which more is needed than before, since somebody last looked."""

    # --- what is known

    def take_estimate(self, member: Member, rate_bps: int, congestion: int, now_us: int) -> bool:
        """True: the receiver should be run at once."""
        return self._account(member).budget.take(rate_bps, congestion, now_us)

    def connected(self, member: Member, now_us: int) -> None:
        """Its media can flow from now on."""
        self._account(member).connected_us = now_us

    def forget(self, participant: Participant) -> None:
        """It has left, or lost its transport."""
        self._accounts.pop(participant.id, None)

    def observe(self, publishers: Iterable[Member], members: Iterable[Member], readings: Readings, now_us: int) -> None:
        """What tracks cost and receivers lose."""
        present = set()
        for member in publishers:
            for track in member.media.tracks.values():
                present.add(track)
                measured = readings[member.media.port].tracks.get(track.handle)
                if measured is not None:
                    self._rates_of(track).observe(track.layers, measured.layers, now_us)
        for member in members:
            account = self._accounts.get(member.participant.id)
            if account is None or now_us < account.observe_due_us or account.budget.estimate_bps is None:
                continue
            account.observe_due_us = now_us + OBSERVE_FREE_US if account.ample else now_us
            self._observe_receiver(member, account, readings, now_us)
        for track in self._rates.keys() - present:
            del self._rates[track]

    def satisfaction(self, member: Member) -> float:
        """How much of what it wishes a receiver is sent, 0 to 1."""
        account = self._accounts.get(member.participant.id)
        return 1.0 if account is None else account.satisfaction

    def _observe_receiver(self, member: Member, account: _Account, readings: Readings, now_us: int) -> None:
        statistics = readings[member.media.port]
        packets = lost = 0.0
        for mid, publication in member.bound.items():
            state = member.media.slots.get(mid)
            if state is None or state.track is None:
                continue
            sent = statistics.forwarders.get(state.forwarder)
            if sent is None or not sent.packets:
                continue
            packets += sent.bitrate_bps
            lost += sent.bitrate_bps * sent.fraction_lost
            standing = account.standings.get(publication.id)
            if standing is None or state.target is None or sent.spatial != state.target.spatial:
                continue
            if now_us - max(standing.downgraded_us, standing.upgraded_us) > SETTLED_US:
                rates = self._rates_of(state.track)
                rates.observe_receiver(sent.spatial, state.target.temporal, sent.bitrate_bps)
        account.budget.loss = lost / packets if packets else 0.0

    # --- what is done

    def due(self, members: Iterable[Member], now_us: int) -> list[Member]:
        """Receivers that it is time to look at again: in a large room some now, the others next time."""
        accounts = self._accounts
        late = [
            (account.due_us, index, member)
            for index, member in enumerate(members)
            if (account := accounts.get(member.participant.id)) is not None and account.due_us <= now_us
        ]
        if len(late) > RUN_AT_MOST:
            late = heapq.nsmallest(RUN_AT_MOST, late)
        return [member for *_, member in late]

    def may_run(self, member: Member, now_us: int) -> bool:
        """Whether an event should be acted upon at once. If not, the next tick will do it."""
        account = self._account(member)
        account.due_us = 0
        account.settled = None
        return account.ran_us is None or now_us - account.ran_us >= EVENT_INTERVAL_US

    def run(self, members: Iterable[Member], now_us: int, *, due: bool = False) -> None:
        """`due`: it is only time for it; nothing is known to have happened to these receivers."""
        scene: _Scene = {}
        limited: list[tuple[_Run, Claim]] = []
        for member in members:
            account = self._account(member)
            account.ran_us = now_us
            if due and account.settled is not None and self._stays(account, account.settled, scene, now_us):
                continue
            account.settled = None
            run = self._look(member, account, scene)
            if account.budget.estimate_bps is None:
                waits = account.connected_us is None or now_us - account.connected_us < FIRST_ESTIMATE_US
                account.due_us = now_us + (LIMITED_INTERVAL_US if waits else FREE_INTERVAL_US)
                self._give(run, least=waits)
                continue
            claim = _claim(run, now_us)
            ruling = settled(claim)
            if ruling is not None:
                self._carry_out(run, claim, ruling, now_us)
            else:
                limited.append((run, claim))
        rulings = weighed([claim for _, claim in limited], now_us) if limited else ()
        for (run, claim), ruling in zip(limited, rulings, strict=True):
            self._carry_out(run, claim, ruling, now_us)

    def _stays(self, account: _Account, run: _Run, scene: _Scene, now_us: int) -> bool:
        """Whether a receiver that had all it wishes has it still, with as much to spare: then no more is to be done.
        What it shows and wishes is as it was, or it would have been run for that."""
        wanted_bps = self._audio_bps(run.heard)
        for seat in run.seats:
            track, choice = seat.state.track, account.choices.get(seat.publication.id)
            if track is None or choice is None:
                return False
            shown = self._shown(seat.publication, track, scene)
            if choice.given[:2] != (shown.layers, shown.available) or seat.ladder.targets != shown.ladder.targets:
                return False
            if seat.cap > PAUSED:
                wanted_bps += shown.ladder.steps[seat.cap].rate_bps
        budget_bps, steady_bps = account.budget.present(now_us)
        if not fits_amply(wanted_bps, budget_bps, steady_bps) or wanted_bps * AMPLE >= budget_bps:
            return False
        self._tell_wanted(run, wanted_bps)
        account.due_us = now_us + FREE_INTERVAL_US
        return True

    def _give(self, run: _Run, *, least: bool) -> None:
        """All that is wished for, or the lowest layers of it."""
        wanted_bps = run.audio_bps
        for seat in run.seats:
            target = seat.target
            wanted_bps += seat.missing_bps
            if seat.cap > PAUSED:
                wanted_bps += seat.ladder.steps[seat.cap].rate_bps
                if least:
                    target = target._replace(spatial=seat.ladder.steps[0].target.spatial)
            self._set(run, seat, target, seat.desired)
        run.account.standings.clear()
        run.account.satisfaction = 1.0
        self._tell_paused(run, {seat.publication.id: PauseReason.OVERLOAD for seat in run.seats if seat.shed})
        self._tell_wanted(run, wanted_bps)

    def _carry_out(self, run: _Run, claim: Claim, ruling: Ruling, now_us: int) -> None:
        self._apply(run, ruling.verdicts, starting=claim.starting)
        self._tell_wanted(run, ruling.wanted_bps + sum(seat.missing_bps for seat in run.seats))
        run.account.ample = run.account.satisfaction == 1 and ruling.wanted_bps * AMPLE < claim.budget_bps
        run.account.due_us = now_us + (FREE_INTERVAL_US if run.account.ample else LIMITED_INTERVAL_US)
        missing = any(seat.missing_bps or seat.shed for seat in run.seats)
        run.account.settled = run if run.account.ample and not missing else None
        if ruling.probe_bps and run.account.budget.may_probe(ruling.probe_bps, now_us):
            run.member.media.request_probe(ruling.probe_bps)

    def _apply(self, run: _Run, verdicts: Sequence[Verdict], *, starting: bool) -> None:
        """`starting`: the most important video flows in any case, for a link is probed with what flows over it."""
        standings: dict[PublicationId, Standing] = {}
        paused: dict[PublicationId, PauseReason] = {}
        steps = reached = 0
        for seat, (level, downgraded_us, upgraded_us) in zip(run.seats, verdicts, strict=True):
            publication = seat.publication.id
            if seat.shed:
                paused[publication] = PauseReason.OVERLOAD
            if seat.cap == PAUSED:
                self._set(run, seat, seat.target, seat.desired)
                continue
            if starting and not steps:
                level = max(level, 0)
            steps += seat.cap + 1
            reached += level + 1
            target = NOTHING if level == PAUSED else seat.ladder.steps[level].target
            standings[publication] = Standing(target, seat.priority, downgraded_us, upgraded_us)
            if level == PAUSED:
                paused[publication] = PauseReason.BANDWIDTH
            elif target.temporal > seat.target.temporal:
                target = target._replace(temporal=seat.target.temporal)
            # Who lacks bandwidth for what there is needs no more; who has it all may wait for a layer to come.
            self._set(run, seat, target, seat.desired if level == seat.cap else target.spatial)
        run.account.standings = standings
        run.account.satisfaction = reached / steps if steps else 1.0
        self._tell_paused(run, paused)

    def _set(self, run: _Run, seat: Seat, target: Target, needed: int) -> None:
        run.member.media.set_target(seat.state, target)
        track = seat.state.track
        if needed > seat.state.needed and track is not None:
            self.risen[track] = max(needed, self.risen.get(track, needed))
        seat.state.needed = needed

    # --- what goes into it

    def _look(self, member: Member, account: _Account, scene: _Scene) -> _Run:
        """What a receiver shows, the most important first, and what its sound takes. Sound is sent without more ado."""
        seats = []
        heard = []
        for mid, publication in member.bound.items():
            state = member.media.slots.get(mid)
            if state is None or (track := state.track) is None:
                continue
            if publication.source in AUDIO_SOURCES:
                if state.target is None:
                    member.media.set_target(state, SOUND)
                if not publication.muted:
                    heard.append(track)
            else:
                seats.append(self._seat(member, account, state, publication, track, scene))
        if len(account.choices) > len(seats):
            shown = {seat.publication.id for seat in seats}
            account.choices = {key: one for key, one in account.choices.items() if key in shown}
        seats.sort(key=lambda seat: (-seat.priority, seat.age))
        if self.caps.last_n is not None:
            shed = seats[self.caps.last_n :]
            seats[self.caps.last_n :] = [
                Seat(one.state, one.publication, one.ladder, NOTHING, PAUSED, one.priority, PAUSED, one.age, shed=True)
                for one in shed
            ]
        return _Run(member, account, seats, heard, self._audio_bps(heard))

    def _audio_bps(self, heard: Iterable[SentTrack]) -> int:
        audio_bps = 0
        for track in heard:
            rates = self._rates.get(track)
            audio_bps += AUDIO_OVERHEAD_BPS + (int(rates.total_bps) if rates else 0)
        return max(audio_bps, AUDIO_RESERVE_BPS)

    def _shown(self, publication: Publication, track: SentTrack, scene: _Scene) -> _Shown:
        shown = scene.get(track)
        if shown is None:
            layers, available = _layers(publication, track), self._available(track)
            ladder = self._ladder(publication, track, layers, available)
            shown = scene[track] = _Shown(layers, available, ladder)
        return shown

    def _seat(
        self,
        member: Member,
        account: _Account,
        state: SlotState,
        publication: Publication,
        track: SentTrack,
        scene: _Scene,
    ) -> Seat:
        wish = member.participant.wish(publication.id)
        shown = self._shown(publication, track, scene)
        layers, ladder = shown.layers, shown.ladder
        given = (layers, shown.available, wish, self.caps)
        choice = account.choices.get(publication.id)
        if choice is None or choice.given != given:
            all_of_them = (1 << max(1, len(layers))) - 1
            choice = account.choices[publication.id] = _Choice(
                given,
                self._limited(publication, layers, given[1], wish),
                self._limited(publication, layers, all_of_them, wish).spatial,
            )
        target = choice.target
        cap = ladder.cap(target) if target.spatial > PAUSED else PAUSED
        if wish.selected:
            priority = SELECTED
        elif publication.source is Source.SCREEN_SHARE:
            priority = SCREEN
        else:
            priority = SPEAKING if self._speakers.dominant == publication.participant.id else OTHER
        missing_bps = 0
        if choice.desired > target.spatial and not publication.muted:
            # A link is found out about while the lowest layer flows over it: layers that begin later find the way free.
            missing_bps = self._missing_bps(track, choice.desired, ladder.steps[cap].rate_bps if cap > PAUSED else 0)
        return Seat(
            state, publication, ladder, target, cap, priority, choice.desired, self._age(publication), missing_bps
        )

    def _missing_bps(self, track: SentTrack, desired: int, there_bps: int) -> int:
        layers_bps = self._rates_of(track).rates(VIDEO_OVERHEAD).layers_bps
        return max(0, int(layers_bps[desired]) - there_bps) if desired < len(layers_bps) else 0

    def _limited(self, publication: Publication, layers: Sequence[Layer], available: int, wish: Wish) -> Target:
        """What is wished for of those layers, as far as the server has room for it."""
        target = choose_target(layers, available, wish)
        max_height = None if publication.source is Source.SCREEN_SHARE else self.caps.max_height
        return limit_target(target, layers, max_height, self.caps.max_temporal)

    def _age(self, publication: Publication) -> tuple[int, int]:
        return (-self._speakers.dominant_us(publication.participant.id), publication.order)

    def _ladder(self, publication: Publication, track: SentTrack, layers: Sequence[Layer], available: int) -> Ladder:
        rates = self._rates_of(track).rates(VIDEO_OVERHEAD)
        screen = publication.source is Source.SCREEN_SHARE
        # What is muted needs nothing, unless it is sent all the same.
        return make_ladder(layers, track.live if publication.muted else available, rates, screen=screen)

    def _rates_of(self, track: SentTrack) -> TrackRates:
        rates = self._rates.get(track)
        if rates is None:
            simulcast = len(track.section.rids) > 1
            codec = track.section.codecs[0].name.upper() if track.section.codecs else ""
            layered = simulcast if codec == "VP8" else len(track.layers) > 1
            assumed_bps = AUDIO_ASSUMED_BPS if track.section.kind == "audio" else ASSUMED_BPS
            temporal = layered and codec in TEMPORAL_CODECS
            rates = TrackRates(scalable=not simulcast, temporal=temporal, assumed_bps=assumed_bps)
            rates.observe(track.layers, (), 0)
            self._rates[track] = rates
        return rates

    # --- what is told

    def _account(self, member: Member) -> _Account:
        key = member.participant.id
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account()
        return account

    @staticmethod
    def _tell_wanted(run: _Run, wanted_bps: int) -> None:
        if run.account.budget.wants(wanted_bps):
            run.member.media.set_wanted(wanted_bps)

    @staticmethod
    def _tell_paused(run: _Run, reasons: dict[PublicationId, PauseReason]) -> None:
        before = run.account.paused
        now = {seat.publication.id: seat.publication for seat in run.seats if seat.publication.id in reasons}
        run.account.paused = now
        for publication_id, publication in now.items():
            if publication_id not in before:
                run.member.tell(SubscriptionPaused(publication, paused=True, reason=reasons[publication_id]))
        for publication_id, publication in before.items():
            if publication_id not in now:
                run.member.tell(SubscriptionPaused(publication, paused=False, reason=None))


def _layers(publication: Publication, track: SentTrack) -> tuple[Layer, ...]:
    return track.layers if track.backup else publication.layers


def _claim(run: _Run, now_us: int) -> Claim:
    account = run.account
    budget_bps, steady_bps = account.budget.present(now_us)
    return Claim(
        run.seats,
        account.standings,
        run.audio_bps,
        budget_bps,
        steady_bps,
        account.budget.congestion,
        account.budget.starting(now_us),
    )
