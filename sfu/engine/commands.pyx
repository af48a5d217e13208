# SPDX-License-Identifier: Apache-2.0
"""The engine's command list; see `commands.pxd`.

Every method validates, prepares the engine's object and appends; nothing is seen by the data plane until the list is
applied. Handles are valid at once, so that later commands of the same list can use them.
"""
import ipaddress
import secrets

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy
from sfu.engine.bwe.estimator cimport estimator_request_probe, estimator_set_wanted
from sfu.engine.demux cimport UFRAG_SIZE
from sfu.engine.egress_log cimport EGRESS_TARGET, egress_log_event, egress_log_open
from sfu.engine.objects cimport (
    free_forwarder, free_track, free_transport, link_forwarder, link_keys, link_layer, link_track, link_transport,
    remove_forwarder, remove_track, remove_transport,
)
from sfu.engine.memory cimport own_lines
from sfu.engine.relay cimport RELAY_LEG_SHIFT, relay_extensions
from sfu.engine.rewriter cimport rewriter_init
from sfu.engine.source cimport source_mark_keyframe
from sfu.engine.srtp cimport Srtp, srtp_close, srtp_open
from sfu.engine.tables cimport (
    HANDLE_INDEX_BITS, HANDLE_INDEX_MASK, MAX_ID, MAX_LAYERS, PAYLOAD_KNOWN, PAYLOAD_NACK, PAYLOAD_PLI, PAYLOAD_RTX,
    SENT_LOG, Binding, Forwarder, Layer, Outgoing, RouterState, SentPacket, Source, Track, Transport,
    forwarder_of, track_of, transport_of, wake_transport,
)
from sfu.engine.tracks cimport forwarder_bind, forwarder_unbind
from sfu.wire.extensions cimport EXT_COUNT, ExtensionMap

from typing import NamedTuple

cdef enum:
    MAX_GENERATION = 0xFFF
    MAX_PAYLOAD_MAPPINGS = 16
    NO_PAYLOAD_TYPE = 255
    MAX_DTLS = 1500
    MAX_OUTGOING = 1024        # DTLS datagrams that wait for the worker

cdef enum CommandKind:
    ADD_TRANSPORT
    SET_KEYS
    SET_EXTENSIONS
    SEND_DTLS
    REMOVE_TRANSPORT
    ADD_TRACK
    ADD_LAYER
    REMOVE_TRACK
    ADD_FORWARDER
    REMOVE_FORWARDER
    BIND
    UNBIND
    SET_TARGET
    REQUEST_KEYFRAME
    SET_WANTED
    REQUEST_PROBE
    SET_PUBLISH_LIMIT


class Payload(NamedTuple):
    """One payload type of a published track."""

    payload_type: int
    codec: int
    clock_rate: int
    rtx_payload_type: int | None = None
    nack: bool = False
    pli: bool = False


cdef class HandlePool:
    """Hands out handles: index in the low 20 bits, a generation that changes with each use above."""

    def __init__(self):
        self._free = []
        self._generations = []
        self._live = set()

    cdef uint32_t take(self) except 0:
        cdef uint32_t index, handle
        if self._free:
            index = self._free.pop()
        else:
            index = len(self._generations)
            if index > HANDLE_INDEX_MASK:
                raise ValueError("too many engine objects: start more workers")
            self._generations.append(0)
        self._generations[index] = self._generations[index] % MAX_GENERATION + 1
        handle = (<uint32_t>self._generations[index] << HANDLE_INDEX_BITS) | index
        self._live.add(handle)
        return handle

    cdef bint release(self, uint32_t handle):
        if handle not in self._live:
            return False
        self._live.discard(handle)
        self._free.append(handle & HANDLE_INDEX_MASK)
        return True


cdef int copy_id(uint8_t *target, bytes value, str what) except -1:
    if len(value) > MAX_ID:
        raise ValueError(f"{what} {value!r} is longer than {MAX_ID} bytes")
    memcpy(target, <const uint8_t *>value, len(value))
    return len(value)


cdef int fill_address(uint8_t *ip, str text) except -1:
    packed = ipaddress.ip_address(text).packed
    if len(packed) == 4:
        packed = b"\x00" * 10 + b"\xff\xff" + packed
    memcpy(ip, <const uint8_t *>packed, 16)
    return 0


cdef class Commands:
    """Commands for one router. Methods raise ValueError for a handle that is not alive or an argument out of range."""

    def __cinit__(self, ufrag_prefix: bytes):
        self._items = NULL
        self._count = 0
        self._capacity = 0

    def __init__(self, ufrag_prefix: bytes):
        self._ufrag_prefix = ufrag_prefix
        self._transports = HandlePool()
        self._tracks = HandlePool()
        self._forwarders = HandlePool()
        self._unlogged = set()
        self._children = {}
        self._parents = {}

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self._count):
            discard(&self._items[i])
        free(self._items)

    def __len__(self) -> int:
        return self._count

    @property
    def live_handles(self) -> tuple[int, int, int]:
        """How many transports, tracks and forwarders are alive."""
        return len(self._transports._live), len(self._tracks._live), len(self._forwarders._live)

    cdef Command *_append(self, int kind, uint32_t handle) except NULL:
        cdef uint32_t capacity
        cdef Command *items
        if self._count == self._capacity:
            capacity = self._capacity * 2 if self._capacity else 64
            items = <Command *>realloc(self._items, capacity * sizeof(Command))
            if items == NULL:
                raise MemoryError
            self._items = items
            self._capacity = capacity
        cdef Command *command = &self._items[self._count]
        command.kind = kind
        command.handle = handle
        command.other = 0
        command.first = 0
        command.second = 0
        command.rate_bps = 0
        command.object = NULL
        command.second_object = NULL
        self._count += 1
        return command

    def _check(self, pool: HandlePool, handle: int, what: str) -> None:
        if handle not in pool._live:
            raise ValueError(f"no {what} with handle {handle}")

    # -- transports

    def add_transport(self, password: bytes) -> tuple[int, bytes]:
        """A new peer with our ICE `password` (22 to 64 bytes). Returns its handle and the ufrag made for it."""
        if not 22 <= len(password) <= 64:
            raise ValueError("an ICE password has 22 to 64 bytes here (RFC 8839 §5.4)")
        cdef Transport *t = <Transport *>own_lines(sizeof(Transport))
        if t == NULL:
            raise MemoryError
        cdef uint32_t handle = self._transports.take()
        ufrag = self._ufrag_prefix + b"%08x" % handle + secrets.token_hex(2).encode()
        t.handle = handle
        t.ufrag_size = UFRAG_SIZE
        memcpy(t.ufrag, <const uint8_t *>ufrag, UFRAG_SIZE)
        t.password_size = len(password)
        memcpy(t.password, <const uint8_t *>password, len(password))
        self._append(ADD_TRANSPORT, handle).object = t
        self._children[handle] = set()
        return handle, ufrag

    def add_relay(self, leg: int, remote: tuple[str, int], local: str, rtt_ms: float) -> int:
        """One end of the relay leg of this number (docs/relay.md): media goes to and comes from `remote`, by way of our
        address `local`. It needs keys as any transport. `rtt_ms`: a first idea of the round trip."""
        if not 0 < leg < 1 << (32 - RELAY_LEG_SHIFT):
            raise ValueError(f"the number of a relay leg is 1 to {(1 << (32 - RELAY_LEG_SHIFT)) - 1}, not {leg}")
        cdef Transport *t = <Transport *>own_lines(sizeof(Transport))
        if t == NULL:
            raise MemoryError
        try:
            fill_address(t.paths[0].path.remote.ip, remote[0])
            fill_address(t.paths[0].path.local_ip, local)
            t.paths[0].path.remote.port = remote[1]
        except BaseException:
            free(t)
            raise
        relay_extensions(&t.receive_extensions)
        t.relay_leg = leg
        t.relay_rtt_us = <int64_t>(rtt_ms * 1000)
        t.handle = self._transports.take()
        self._append(ADD_TRANSPORT, t.handle).object = t
        self._children[t.handle] = set()
        return t.handle

    def set_keys(self, transport: int, profile: int, receive_key_salt: bytes, send_key_salt: bytes) -> None:
        """Install SRTP keys, once in a transport's life: an index is protected once."""
        self._check(self._transports, transport, "transport")
        cdef Srtp *receiving = srtp_open(profile, receive_key_salt, len(receive_key_salt), False)
        cdef Srtp *sending = srtp_open(profile, send_key_salt, len(send_key_salt), True)
        if receiving == NULL or sending == NULL:
            srtp_close(receiving)
            srtp_close(sending)
            raise ValueError(f"SRTP profile {profile} does not take keys of {len(receive_key_salt)} bytes")
        cdef Command *command = self._append(SET_KEYS, transport)
        command.object = receiving
        command.second_object = sending

    def set_receive_extensions(self, transport: int, extensions: dict[int, int]) -> None:
        """Header extension id → ExtensionKind of what the peer sends."""
        self._check(self._transports, transport, "transport")
        for number, kind in extensions.items():
            if not 1 <= number <= 255 or not 0 < kind < <int>EXT_COUNT:
                raise ValueError(f"header extension {number}: {kind} is out of range")
        cdef ExtensionMap *map_ = <ExtensionMap *>calloc(1, sizeof(ExtensionMap))
        if map_ == NULL:
            raise MemoryError
        for number, kind in extensions.items():
            map_.kind[<int>number] = kind
        self._append(SET_EXTENSIONS, transport).object = map_

    def send_dtls(self, transport: int, datagram: bytes) -> None:
        """Send a datagram to the transport's selected address (nowhere, if there is none yet)."""
        self._check(self._transports, transport, "transport")
        if len(datagram) > MAX_DTLS:
            raise ValueError(f"a datagram of {len(datagram)} bytes is longer than {MAX_DTLS}")
        cdef Outgoing *outgoing = <Outgoing *>malloc(sizeof(Outgoing))
        if outgoing == NULL:
            raise MemoryError
        outgoing.next = NULL
        outgoing.size = len(datagram)
        memcpy(outgoing.data, <const uint8_t *>datagram, len(datagram))
        self._append(SEND_DTLS, transport).object = outgoing

    def remove_transport(self, transport: int) -> None:
        """With all its tracks and forwarders, whose handles end with it."""
        self._check(self._transports, transport, "transport")
        for kind, handle in self._children.pop(transport):
            del self._parents[kind, handle]
            if kind == "forwarder":
                self._unlogged.discard(handle)
            (<HandlePool>(self._tracks if kind == "track" else self._forwarders)).release(handle)
        self._transports.release(transport)
        self._append(REMOVE_TRANSPORT, transport)

    def set_wanted(self, transport: int, wanted_bps: int) -> None:
        """What all that this receiver wishes for adds up to: periodic probes need not go far beyond. 0 = unknown."""
        self._check(self._transports, transport, "transport")
        self._append(SET_WANTED, transport).rate_bps = max(0, wanted_bps)

    def request_probe(self, transport: int, target_bps: int) -> None:
        """Find out whether the receiver's link carries `target_bps` in all, before layers are added."""
        self._check(self._transports, transport, "transport")
        self._append(REQUEST_PROBE, transport).rate_bps = max(0, target_bps)

    def set_publish_limit(self, transport: int, limit_bps: int) -> None:
        """How much the peer may send in all: told with each receiver report, as a REMB. 0 = nothing is told."""
        self._check(self._transports, transport, "transport")
        self._append(SET_PUBLISH_LIMIT, transport).rate_bps = max(0, limit_bps)

    # -- tracks

    def add_track(self, transport: int, kind: str, mid: bytes, payloads: list[Payload]) -> int:
        """A published media section. Layers are added one by one, lowest first."""
        self._check(self._transports, transport, "transport")
        if kind not in ("audio", "video"):
            raise ValueError(f"kind {kind!r}: choose audio or video")
        cdef Track *track = <Track *>own_lines(sizeof(Track))
        if track == NULL:
            raise MemoryError
        try:
            track.mid_size = copy_id(track.mid, mid, "mid")
            for payload in payloads:
                fill_payload(track, payload)
        except BaseException:
            free(track)
            raise
        track.video = kind == "video"
        track.handle = self._tracks.take()
        cdef Command *command = self._append(ADD_TRACK, track.handle)
        command.other = transport
        command.object = track
        self._children[transport].add(("track", track.handle))
        self._parents["track", track.handle] = transport
        return track.handle

    def add_layer(self, track: int, rid: bytes = b"", ssrc: int = 0, rtx_ssrc: int = 0) -> None:
        """The next higher simulcast layer, known by its rid, its SSRC, or (being the only one) by its track's mid."""
        self._check(self._tracks, track, "track")
        cdef Layer *layer = <Layer *>calloc(1, sizeof(Layer))
        if layer == NULL:
            raise MemoryError
        try:
            layer.rid_size = copy_id(layer.rid, rid, "rid")
            layer.declared_ssrc = ssrc
            layer.declared_rtx_ssrc = rtx_ssrc
        except BaseException:
            free(layer)
            raise
        self._append(ADD_LAYER, track).object = layer

    def remove_track(self, track: int) -> None:
        self._check(self._tracks, track, "track")
        self._children[self._parents.pop(("track", track))].discard(("track", track))
        self._tracks.release(track)
        self._append(REMOVE_TRACK, track)

    def request_keyframe(self, track: int, layer: int) -> None:
        """Ask the publisher for a keyframe of one layer, within the engine's spacing."""
        self._check(self._tracks, track, "track")
        self._append(REQUEST_KEYFRAME, track).first = layer

    # -- forwarders

    def add_forwarder(self, transport: int, kind: str, mid: bytes, ssrc: int, rtx_ssrc: int, extensions: dict[int, int],
                      *, relay_layer: int = 0) -> int:
        """An outbound stream with fixed SSRCs. `extensions`: ExtensionKind → negotiated id. `rtx_ssrc` 0: no RTX.

        On a relay leg it carries the layer `relay_layer` whole, while its target is not paused.
        """
        if not 0 <= relay_layer < MAX_LAYERS:
            raise ValueError(f"relay layer {relay_layer} is out of range: 0 to {MAX_LAYERS - 1}")
        self._check(self._transports, transport, "transport")
        if kind not in ("audio", "video"):
            raise ValueError(f"kind {kind!r}: choose audio or video")
        cdef Forwarder *f = <Forwarder *>own_lines(sizeof(Forwarder))
        if f == NULL:
            raise MemoryError
        try:
            fill_forwarder(f, kind == "video", mid, ssrc, rtx_ssrc, extensions)
            if self.egress_log > 0:
                f.log = egress_log_open(<uint32_t>self.egress_log)
                if f.log == NULL:
                    raise MemoryError
            f.relay_layer = relay_layer
        except BaseException:
            free_forwarder(f)
            raise
        f.handle = self._forwarders.take()
        if f.video:
            self._unlogged.add(f.handle)
        cdef Command *command = self._append(ADD_FORWARDER, f.handle)
        command.other = transport
        command.object = f
        self._children[transport].add(("forwarder", f.handle))
        self._parents["forwarder", f.handle] = transport
        return f.handle

    def remove_forwarder(self, forwarder: int) -> None:
        self._check(self._forwarders, forwarder, "forwarder")
        self._children[self._parents.pop(("forwarder", forwarder))].discard(("forwarder", forwarder))
        self._forwarders.release(forwarder)
        self._unlogged.discard(forwarder)
        self._append(REMOVE_FORWARDER, forwarder)

    def bind(self, forwarder: int, track: int, csrc: int, generation: int,
             payloads: list[tuple[int, int, int | None]]) -> None:
        """Let `track` flow to `forwarder`. `payloads`: (incoming, outgoing, outgoing RTX or None) payload types."""
        self._check(self._forwarders, forwarder, "forwarder")
        self._check(self._tracks, track, "track")
        if not 0 < len(payloads) <= MAX_PAYLOAD_MAPPINGS:
            raise ValueError(f"a bind takes 1 to {MAX_PAYLOAD_MAPPINGS} payload types, got {len(payloads)}")
        cdef SentPacket *sent = NULL
        cdef Binding *binding = <Binding *>calloc(1, sizeof(Binding))
        if binding == NULL:
            raise MemoryError
        try:
            binding.csrc = csrc
            binding.generation = generation
            for i, (incoming, outgoing, rtx) in enumerate(payloads):
                binding.payloads[<int>i].incoming = incoming
                binding.payloads[<int>i].outgoing = outgoing
                binding.payloads[<int>i].outgoing_rtx = NO_PAYLOAD_TYPE if rtx is None else rtx
            binding.payload_count = len(payloads)
            if forwarder in self._unlogged:
                # Most slots of most receivers never show anything: their logs would be most of what a join costs.
                sent = <SentPacket *>own_lines(SENT_LOG * sizeof(SentPacket))
                if sent == NULL:
                    raise MemoryError
                self._unlogged.discard(forwarder)
        except BaseException:
            free(binding)
            raise
        cdef Command *command = self._append(BIND, forwarder)
        command.other = track
        command.object = binding
        command.second_object = sent

    def unbind(self, forwarder: int) -> None:
        self._check(self._forwarders, forwarder, "forwarder")
        self._append(UNBIND, forwarder)

    def set_target(self, forwarder: int, spatial: int, temporal: int) -> None:
        """Wanted layers: spatial -1 (paused) to 3, temporal 0 to 7."""
        self._check(self._forwarders, forwarder, "forwarder")
        if not -1 <= spatial < MAX_LAYERS or not 0 <= temporal <= 7:
            raise ValueError(f"target layer {spatial}/{temporal} is out of range")
        cdef Command *command = self._append(SET_TARGET, forwarder)
        command.first = spatial
        command.second = temporal

    # -- applied by the router

    cdef void apply(self, RouterState *s, int64_t now_us) noexcept nogil:
        cdef uint32_t i
        for i in range(self._count):
            apply_one(s, &self._items[i], now_us)
            discard(&self._items[i])
        self._count = 0


cdef int fill_payload(Track *track, object payload) except -1:
    cdef int number = payload.payload_type
    if not 0 <= number < 128:
        raise ValueError(f"payload type {number} is out of range")
    if not payload.clock_rate > 0:
        raise ValueError(f"payload type {number}: clock rate {payload.clock_rate} is out of range")
    track.payload[number].codec = payload.codec
    track.payload[number].clock_rate = payload.clock_rate
    track.payload[number].flags = (PAYLOAD_KNOWN | (PAYLOAD_NACK if payload.nack else 0)
                                   | (PAYLOAD_PLI if payload.pli else 0))
    if payload.rtx_payload_type is None:
        return 0
    if not 0 <= payload.rtx_payload_type < 128:
        raise ValueError(f"payload type {payload.rtx_payload_type} is out of range")
    cdef int rtx = payload.rtx_payload_type
    track.payload[rtx].flags = PAYLOAD_KNOWN | PAYLOAD_RTX
    track.payload[rtx].associated = number
    track.payload[rtx].clock_rate = payload.clock_rate
    return 0


cdef int fill_forwarder(Forwarder *f, bint video, bytes mid, uint32_t ssrc, uint32_t rtx_ssrc, dict extensions) except -1:
    f.video = video
    f.mid_size = copy_id(f.mid, mid, "mid")
    f.ssrc = ssrc
    f.rtx_ssrc = rtx_ssrc
    for kind, number in extensions.items():
        # Only ids of the one-byte form are written (RFC 8285 §4.2).
        if 0 < kind < <int>EXT_COUNT and 1 <= number <= 14:
            f.extension_ids[<int>kind] = number
    f.selection.target_spatial = -1
    f.selection.current_spatial = -1
    # Below 2^15, so that the first roll-over is far from the first packet (RFC 3711 §3.3.1).
    rewriter_init(&f.rewriter, secrets.randbelow(1 << 15), secrets.randbits(32))
    f.rtx_sequence = secrets.randbelow(1 << 15)
    return 0


cdef void apply_one(RouterState *s, Command *c, int64_t now_us) noexcept nogil:
    """Carry one command out. What it hands over is set to NULL in the command; the rest is freed by `discard`."""
    cdef Transport *t
    cdef Track *track
    cdef Forwarder *f
    if c.kind == ADD_TRANSPORT:
        if link_transport(s, <Transport *>c.object, now_us) == 0:
            c.object = NULL
    elif c.kind in (ADD_TRACK, ADD_LAYER, REMOVE_TRACK, REQUEST_KEYFRAME):
        apply_track(s, c, now_us)
    elif c.kind in (ADD_FORWARDER, REMOVE_FORWARDER, BIND, UNBIND, SET_TARGET):
        apply_forwarder(s, c, now_us)
    else:
        t = transport_of(s, c.handle)
        if t == NULL:
            return
        if c.kind == SET_KEYS and t.receive_srtp == NULL:
            link_keys(t, <Srtp *>c.object, <Srtp *>c.second_object)
            wake_transport(s, t, now_us)
            c.object = NULL
            c.second_object = NULL
        elif c.kind == SET_EXTENSIONS:
            t.receive_extensions = (<ExtensionMap *>c.object)[0]
        elif c.kind == SEND_DTLS and s.outgoing_count < MAX_OUTGOING and t.selected >= 0:
            (<Outgoing *>c.object).path = t.paths[t.selected].path
            queue_outgoing(s, <Outgoing *>c.object)
            c.object = NULL
        elif c.kind == SET_WANTED and t.congestion != NULL:
            estimator_set_wanted(t.congestion.estimator, c.rate_bps, now_us)
        elif c.kind == REQUEST_PROBE and t.congestion != NULL:
            estimator_request_probe(t.congestion.estimator, c.rate_bps, now_us)
            wake_transport(s, t, now_us)
        elif c.kind == SET_PUBLISH_LIMIT:
            t.publish_limit_bps = <uint64_t>c.rate_bps
        elif c.kind == REMOVE_TRANSPORT:
            remove_transport(s, t)


cdef void queue_outgoing(RouterState *s, Outgoing *outgoing) noexcept nogil:
    if s.outgoing_tail != NULL:
        s.outgoing_tail.next = outgoing
    else:
        s.outgoing_head = outgoing
    s.outgoing_tail = outgoing
    s.outgoing_count += 1


cdef void apply_track(RouterState *s, Command *c, int64_t now_us) noexcept nogil:
    cdef Transport *t
    cdef Source *source
    cdef Track *track
    if c.kind == ADD_TRACK:
        t = transport_of(s, c.other)
        if t != NULL and link_track(s, t, <Track *>c.object) == 0:
            c.object = NULL
        return
    track = track_of(s, c.handle)
    if track == NULL:
        return
    if c.kind == ADD_LAYER:
        link_layer(track, <Layer *>c.object)
    elif c.kind == REMOVE_TRACK:
        remove_track(s, track)
    elif 0 <= c.first < <int>track.layer_count:
        source = track.layers[c.first].source
        if source != NULL:
            source_mark_keyframe(s, source, now_us)


cdef void apply_forwarder(RouterState *s, Command *c, int64_t now_us) noexcept nogil:
    cdef Transport *t
    cdef Track *track
    cdef Forwarder *f
    if c.kind == ADD_FORWARDER:
        t = transport_of(s, c.other)
        if t != NULL and link_forwarder(s, t, <Forwarder *>c.object, now_us) == 0:
            c.object = NULL
        return
    f = forwarder_of(s, c.handle)
    if f == NULL:
        return
    if c.kind == REMOVE_FORWARDER:
        remove_forwarder(s, f)
    elif c.kind == UNBIND:
        forwarder_unbind(s, f)
    elif c.kind == BIND:
        if f.sent == NULL:
            f.sent = <SentPacket *>c.second_object
            c.second_object = NULL
        track = track_of(s, c.other)
        if track != NULL:
            (<Binding *>c.object).track = track
            forwarder_bind(s, f, <Binding *>c.object, now_us)
            want_target(s, f, now_us)
    else:
        f.selection.target_spatial = <signed char>c.first
        f.selection.target_temporal = <signed char>c.second
        if f.log != NULL:
            egress_log_event(f.log, EGRESS_TARGET, f.binding.csrc, c.first, c.second, now_us)
        want_target(s, f, now_us)


cdef void want_target(RouterState *s, Forwarder *f, int64_t now_us) noexcept nogil:
    """Ask for the keyframe that a switch to the target layer needs, rather than wait for the layer's next packet."""
    cdef Track *track = f.binding.track
    cdef Source *source
    cdef uint32_t wanted
    if track == NULL or not f.video or f.selection.target_spatial < 0:
        return
    if track.layer_count == 0:
        return
    # In a scalable stream all spatial layers are one source's.
    wanted = f.relay_layer if f.transport.relay_leg else <uint32_t>f.selection.target_spatial
    source = track.layers[min(wanted, track.layer_count - 1)].source
    if source != NULL and not (f.rewriter.bound and f.source_generation == source.generation):
        source_mark_keyframe(s, source, now_us)


cdef void discard(Command *c) noexcept nogil:
    """Free what a command still owns."""
    if c.object == NULL:
        return
    if c.kind == ADD_TRANSPORT:
        free_transport(<Transport *>c.object)
    elif c.kind == ADD_TRACK:
        free_track(<Track *>c.object)
    elif c.kind == ADD_FORWARDER:
        free_forwarder(<Forwarder *>c.object)
    elif c.kind == SET_KEYS:
        srtp_close(<Srtp *>c.object)
        srtp_close(<Srtp *>c.second_object)
    else:
        free(c.object)
        free(c.second_object)
    c.object = NULL
    c.second_object = NULL
