# SPDX-License-Identifier: Apache-2.0
"""The asyncio side of one engine worker: commands go out once per loop tick, events come in by an eventfd."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from sfu.engine.commands import Commands
from sfu.engine.egress_events import EgressRecord
from sfu.engine.events import (
    DtlsDatagram,
    Event,
    ForwarderLayer,
    ForwarderStarted,
    TrackLayers,
    TransportEstimate,
    TransportExpired,
    TransportPath,
)
from sfu.engine.worker import Worker

logger = logging.getLogger(__name__)

TransportEvent = TransportPath | DtlsDatagram | TransportExpired | TransportEstimate
TrackEvent = TrackLayers
ForwarderEvent = ForwarderStarted | ForwarderLayer

AnyEvent = TypeVar("AnyEvent", bound=Event)
Handler = Callable[[AnyEvent], None]


class EnginePort:
    """Couples a `Worker` to the loop that owns it. All methods are called on that loop.

    Commands appended within one tick are applied together, under one hold of the engine's lock. An event is handed to
    whoever watches its handle; what nobody watches any more is dropped.
    """

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        self.worker = worker
        self.loop = loop
        self._flush_handle: asyncio.Handle | None = None
        self._transports: dict[int, Handler[TransportEvent]] = {}
        self._tracks: dict[int, Handler[TrackEvent]] = {}
        self._forwarders: dict[int, Handler[ForwarderEvent]] = {}
        self._running = False

    def start(self) -> None:
        self.loop.add_reader(self.worker.fileno(), self._on_readable)
        self._running = True

    def stop(self) -> None:
        """Apply what was still appended and listen no more. The worker itself is stopped by its owner."""
        if self._running:
            self.loop.remove_reader(self.worker.fileno())
            self._running = False
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush()

    @property
    def port(self) -> int:
        """The worker's UDP port."""
        return self.worker.port

    @property
    def watched(self) -> int:
        """Handles with a watcher; zero when everybody has left."""
        return len(self._transports) + len(self._tracks) + len(self._forwarders)

    @property
    def commands(self) -> Commands:
        """Append to it at once, do not keep it: touching it is what schedules the flush."""
        if self._flush_handle is None:
            self._flush_handle = self.loop.call_soon(self._flush)
        return self.worker.commands

    def egress_log(self, forwarder: int) -> list[EgressRecord]:
        """The last events of an outbound stream, oldest first; empty unless logs are kept (setting `egress_log`)."""
        return self.worker.egress_log(forwarder, self.worker.commands.egress_log)

    def watch_transport(self, transport: int, handler: Handler[TransportEvent]) -> None:
        self._transports[transport] = handler

    def watch_track(self, track: int, handler: Handler[TrackEvent]) -> None:
        self._tracks[track] = handler

    def watch_forwarder(self, forwarder: int, handler: Handler[ForwarderEvent]) -> None:
        self._forwarders[forwarder] = handler

    def unwatch_transport(self, transport: int) -> None:
        self._transports.pop(transport, None)

    def unwatch_track(self, track: int) -> None:
        self._tracks.pop(track, None)

    def unwatch_forwarder(self, forwarder: int) -> None:
        self._forwarders.pop(forwarder, None)

    def _flush(self) -> None:
        self._flush_handle = None
        self.worker.flush()

    def _on_readable(self) -> None:
        for event in self.worker.events():
            try:
                self._dispatch(event)
            except Exception:  # one peer's trouble must not cost the others their events
                logger.exception("handler of %s failed", type(event).__name__)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, TransportPath | DtlsDatagram | TransportExpired | TransportEstimate):
            _hand(self._transports.get(event.transport), event)
        elif isinstance(event, TrackLayers):
            _hand(self._tracks.get(event.track), event)
        elif isinstance(event, ForwarderStarted | ForwarderLayer):
            _hand(self._forwarders.get(event.forwarder), event)


def _hand(handler: Handler[AnyEvent] | None, event: AnyEvent) -> None:
    if handler is not None:
        handler(event)
