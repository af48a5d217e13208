# SPDX-License-Identifier: Apache-2.0
"""The load client as a program: `python -m benchmarks.client` reads a scenario and writes one JSON line a window."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Protocol

import uvloop
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.namespaces import Place
from benchmarks.peers.aiortc_forwarder import AiortcPeer
from benchmarks.peers.janus import JanusPeer, JanusSession
from benchmarks.processes import ROOT, busiest_thread_ns, cpu_ns, environment, thread_cpu_ns
from benchmarks.recordings import camera_media, camera_spec
from benchmarks.scenario import Group, Latencies, Scenario, Spread, Window
from sfu.load.counts import StreamCounts, TrafficTotals
from sfu.load.media import AudioSpec
from sfu.load.native import NativePeer, TrafficHub
from sfu.load.peer import LightPeer, LightSpec
from sfu.load.receiving import LightSlot
from sfu.load.traffic import Traffic
from sfu.transport.certificate import SRTP_PROFILES, Certificate

JOINS_AT_ONCE: Final = 16
GROUPS: Final = 8
STEADY: Final = 0.02
ENOUGH: Final = 0.99
METRICS_WITHIN_S: Final = 10.0
GCM_PROFILE, CM_PROFILE = 7, 1


class Participant(Protocol):
    """Somebody whose media is in the hub."""

    def streams(self) -> list[StreamCounts]: ...

    async def close(self) -> None: ...


Enter = Callable[[Group, int], Awaitable[Participant]]


def certificate_for(scenario: Scenario) -> Certificate:
    wanted = GCM_PROFILE if scenario.gcm else CM_PROFILE
    return Certificate([profile for profile in SRTP_PROFILES if profile.number == wanted])


def enter_pysfu(scenario: Scenario, hub: TrafficHub) -> Enter:
    certificate = certificate_for(scenario)

    async def enter(group: Group, number: int) -> Participant:
        def group_of(slot: LightSlot) -> int:
            return group.video_group if slot.kind == "video" else group.audio_group

        spec = LightSpec(
            room=group.room,
            name=f"{group.camera} {number}",
            audio=AudioSpec(level=20 + number % 40) if group.microphone else None,
            video=camera_spec(group.camera, scenario),
            video_slots=group.video_slots,
            audio_slots=group.audio_slots,
        )
        media = camera_media(group, scenario)
        return await NativePeer.enter(scenario.url, spec, hub, media=media, certificate=certificate, group_of=group_of)

    return enter


def enter_janus(scenario: Scenario, hub: TrafficHub, session: JanusSession) -> Enter:
    certificate = certificate_for(scenario)

    async def enter(group: Group, number: int) -> Participant:
        peer = JanusPeer(session, hub, certificate)
        media = camera_media(group, scenario)
        if media.layers:
            await peer.create_room(scenario.room_id)
            await peer.publish(scenario.room_id, 1, media.layers[0])
        else:
            await peer.subscribe(scenario.room_id, 1, group.video_group)
        return peer

    return enter


def enter_aiortc(scenario: Scenario, hub: TrafficHub) -> Enter:
    certificate = certificate_for(scenario)

    async def enter(group: Group, number: int) -> Participant:
        peer = AiortcPeer(scenario.url, hub, certificate)
        media = camera_media(group, scenario)
        program = media.layers[-1] if media.layers else None
        await peer.enter(program, group.video_group, stamped=group.camera == "burst")
        return peer

    return enter


@contextlib.asynccontextmanager
async def enterer(scenario: Scenario, hub: TrafficHub) -> AsyncIterator[Enter]:
    """How one enters the service that is measured."""
    if scenario.service == "janus":
        session = await JanusSession.open(scenario.url)
        yield enter_janus(scenario, hub, session)
        await session.close()
    else:
        yield (enter_pysfu if scenario.service == "pysfu" else enter_aiortc)(scenario, hub)


async def enter_all(scenario: Scenario, enter: Enter) -> list[Participant]:
    """Who sends comes first; the others then a few at a time."""
    turn = asyncio.Semaphore(JOINS_AT_ONCE)

    async def one(group: Group, number: int) -> Participant:
        async with turn:
            return await enter(group, number)

    inside: list[Participant] = []
    for sends in (True, False):
        chosen = [group for group in scenario.groups if (group.camera != "none" or group.microphone) is sends]
        entering = [one(group, number) for group in chosen for number in range(group.count)]
        inside += await asyncio.gather(*entering)
    return inside


async def settle(scenario: Scenario, hub: TrafficHub) -> None:
    """The server's bandwidth estimates begin low: wait until everything flows."""
    await asyncio.sleep(scenario.warm_up_s)
    until_s = time.monotonic() + scenario.settle_limit_s
    before = 0.0
    while time.monotonic() < until_s:
        start, start_s = hub.traffic.totals().received, time.monotonic()
        await asyncio.sleep(1.0)
        rate = (hub.traffic.totals().received - start) / (time.monotonic() - start_s)
        if scenario.expected_pps:
            if rate >= ENOUGH * scenario.expected_pps:
                return
        elif before and abs(rate - before) <= STEADY * before:
            return
        before = rate


@dataclass(frozen=True)
class Instant:
    """All clocks and counters at one moment."""

    at_s: float
    totals: TrafficTotals
    lost: int
    packets: dict[tuple[int, int], int]
    server_ns: int
    threads: dict[int, int]

    @classmethod
    def now(cls, scenario: Scenario, hub: TrafficHub, inside: Sequence[Participant]) -> Instant:
        pid = scenario.server_pid
        streams = [(number, counts) for number, one in enumerate(inside) for counts in one.streams()]
        return cls(
            time.monotonic(),
            hub.traffic.totals(),
            sum(counts.lost for _, counts in streams),
            {(number, counts.ssrc): counts.packets for number, counts in streams},
            cpu_ns(pid) if pid else 0,
            thread_cpu_ns(pid) if pid else {},
        )


def control_waits(scenario: Scenario) -> dict[str, int]:
    """The server's histogram so far: calls that waited no longer than so many seconds."""
    if scenario.service != "pysfu":
        return {}
    with urllib.request.urlopen(scenario.url.rstrip("/") + "/metrics", timeout=METRICS_WITHIN_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        sample.labels["le"]: int(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "pysfu_control_wait_seconds_bucket" and sample.labels["worker"] == "0"
    }


def window(scenario: Scenario, hub: TrafficHub, before: Instant, after: Instant, joins: int) -> Window:
    old, new = before.totals, after.totals
    flowing = [key for key, packets in before.packets.items() if packets]
    latencies, spreads = {}, {}
    for group in range(GROUPS):
        found = hub.traffic.latency(group)
        if found.total:
            p50, p99, p999 = (found.percentile_us(percent) for percent in (50, 99, 99.9))
            latencies[group] = Latencies(found.total, p50, p99, p999, found.highest_us)
        spread = _spread(hub, group)
        if spread is not None:
            spreads[group] = spread
    return Window(
        seconds=after.at_s - before.at_s,
        sent=new.sent - old.sent,
        received=new.received - old.received,
        received_bytes=new.received_bytes - old.received_bytes,
        lost=after.lost - before.lost,
        silent=sum(after.packets.get(key, 0) == before.packets[key] for key in flowing),
        server_ns=after.server_ns - before.server_ns,
        media_ns=busiest_thread_ns(scenario.server_pid, before.threads, after.threads),
        client_ns=new.cpu_ns - old.cpu_ns,
        client_dropped=new.kernel_dropped - old.kernel_dropped,
        joins=joins,
        latencies=latencies,
        spreads=spreads,
    )


def _spread(hub: TrafficHub, group: int) -> Spread | None:
    frames = hub.traffic.frames(group)
    most = max((frame.receivers for frame in frames), default=0)
    complete = [frame for frame in frames if frame.receivers == most]
    if most < 2:
        return None
    lasts = sorted(frame.last_us for frame in complete)
    firsts = sorted(frame.first_us for frame in complete)
    return Spread(
        frames=len(complete),
        receivers=most,
        first_us=firsts[len(firsts) // 2],
        last_us=lasts[len(lasts) // 2],
        last_p99_us=lasts[max(0, math.ceil(0.99 * len(lasts)) - 1)],
    )


async def join_and_leave(scenario: Scenario, counts: list[int]) -> None:
    """The busy control plane: newcomers without media, in rooms of their own."""
    certificate = Certificate()
    for number in range(1_000_000):
        spec = LightSpec(room=f"coming and going {number % 8}", name="short", audio=None, video=None, video_slots=2)
        with contextlib.suppress(OSError, TimeoutError):
            peer = await LightPeer.join(scenario.url, spec, certificate=certificate)
            counts[0] += 1
            await peer.close()
        await asyncio.sleep(1 / scenario.joins_per_s)


async def run(scenario: Scenario) -> None:
    hub = TrafficHub(Traffic(gro=scenario.gro, sample_every=scenario.sample_every, sample_markers=True))
    async with enterer(scenario, hub) as enter:
        inside = await enter_all(scenario, enter)
        await observe(scenario, hub, inside)
        await asyncio.gather(*(one.close() for one in inside), return_exceptions=True)
    hub.close()


async def observe(scenario: Scenario, hub: TrafficHub, inside: Sequence[Participant]) -> None:
    """Say what happens in each window."""
    await settle(scenario, hub)
    joined = [0]
    joiner = asyncio.create_task(join_and_leave(scenario, joined)) if scenario.joins_per_s else None
    for _ in range(scenario.windows):
        hub.traffic.reset_latency()
        joined[0] = 0
        waited = await asyncio.to_thread(control_waits, scenario)
        before = Instant.now(scenario, hub, inside)
        await asyncio.sleep(scenario.window_s)
        after = Instant.now(scenario, hub, inside)
        waits = {le: calls - waited[le] for le, calls in (await asyncio.to_thread(control_waits, scenario)).items()}
        found = replace(window(scenario, hub, before, after, joined[0]), control_waits=waits)
        print(json.dumps(asdict(found)), flush=True)
    if joiner is not None:
        joiner.cancel()
        await asyncio.gather(joiner, return_exceptions=True)


def main() -> None:
    scenario = Scenario.parse(sys.stdin.readline())
    uvloop.run(run(scenario))


def measure(scenario: Scenario, place: Place, core: int | None) -> list[Window]:
    """In the parent: run the scenario where the load client belongs; its windows."""
    found = list(windows(scenario, place, core))
    if not all(window.received for window in found):
        raise RuntimeError(f"in a window of {scenario.service} no packet arrived: nothing can be said of it")
    return found


def windows(scenario: Scenario, place: Place, core: int | None) -> Iterator[Window]:
    import subprocess

    command = [*place.command(place.client, core), sys.executable, "-m", "benchmarks.client"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(scenario.dump() + "\n")
        process.stdin.close()
        for line in process.stdout:
            yield Window.parse(json.loads(line))
    if process.returncode:
        raise RuntimeError(f"the load client ended with {process.returncode}")


if __name__ == "__main__":
    main()
