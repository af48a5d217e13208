# SPDX-License-Identifier: Apache-2.0
"""Handle tables, the address map and the event queues of a router; see `tables.pxd`."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset
from sfu.engine.address cimport Path, path_equal
from sfu.engine.schedule cimport schedule_due_us, schedule_move

cdef enum:
    ADDRESS_MAP_INITIAL = 256  # slots; doubled when half full


cdef Transport *transport_of(RouterState *s, uint32_t handle) noexcept nogil:
    cdef uint32_t index = handle & HANDLE_INDEX_MASK
    cdef Transport *t
    if index >= s.transports.capacity:
        return NULL
    t = <Transport *>s.transports.items[index]
    return t if t != NULL and t.handle == handle else NULL


cdef Track *track_of(RouterState *s, uint32_t handle) noexcept nogil:
    cdef uint32_t index = handle & HANDLE_INDEX_MASK
    cdef Track *t
    if index >= s.tracks.capacity:
        return NULL
    t = <Track *>s.tracks.items[index]
    return t if t != NULL and t.handle == handle else NULL


cdef Forwarder *forwarder_of(RouterState *s, uint32_t handle) noexcept nogil:
    cdef uint32_t index = handle & HANDLE_INDEX_MASK
    cdef Forwarder *f
    if index >= s.forwarders.capacity:
        return NULL
    f = <Forwarder *>s.forwarders.items[index]
    return f if f != NULL and f.handle == handle else NULL


cdef int table_put(Table *t, uint32_t handle, void *item) noexcept nogil:
    """0, or -1 without memory."""
    cdef uint32_t index = handle & HANDLE_INDEX_MASK
    cdef uint32_t capacity = t.capacity if t.capacity else 64
    cdef void **items
    while capacity <= index:
        capacity *= 2
    if capacity != t.capacity:
        items = <void **>realloc(t.items, capacity * sizeof(void *))
        if items == NULL:
            return -1
        memset(&items[t.capacity], 0, (capacity - t.capacity) * sizeof(void *))
        t.items = items
        t.capacity = capacity
    t.items[index] = item
    return 0


cdef void table_clear(Table *t, uint32_t handle) noexcept nogil:
    t.items[handle & HANDLE_INDEX_MASK] = NULL


cdef inline uint64_t mix(uint64_t value) noexcept nogil:
    value ^= value >> 32
    value *= <uint64_t>0xD6E8FEB86659FD93
    value ^= value >> 32
    value *= <uint64_t>0xD6E8FEB86659FD93
    return value ^ (value >> 32)


cdef inline uint64_t word_at(const uint8_t *data) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, data, sizeof(word))
    return word


cdef uint64_t path_hash(const AddressMap *m, const Path *path) noexcept nogil:
    """Keyed, so that a peer cannot choose addresses that collide. Never 0."""
    cdef uint64_t h = m.secret[0]
    h = mix(h ^ word_at(path.remote.ip))
    h = mix(h ^ word_at(path.remote.ip + 8))
    h = mix(h ^ word_at(path.local_ip))
    h = mix(h ^ word_at(path.local_ip + 8))
    h = mix(h ^ m.secret[1] ^ path.remote.port)
    return h if h else 1


cdef int address_map_open(AddressMap *m, uint64_t secret0, uint64_t secret1) noexcept nogil:
    m.slots = <AddressSlot *>calloc(ADDRESS_MAP_INITIAL, sizeof(AddressSlot))
    m.mask = ADDRESS_MAP_INITIAL - 1
    m.used = 0
    m.secret[0] = secret0
    m.secret[1] = secret1
    return 0 if m.slots != NULL else -1


cdef uint32_t address_map_find(const AddressMap *m, const Path *path) noexcept nogil:
    """Handle of the transport that authenticated this 5-tuple, or 0."""
    cdef uint64_t h = path_hash(m, path)
    cdef uint32_t at = <uint32_t>h & m.mask
    while m.slots[at].hash:
        if m.slots[at].hash == h and path_equal(&m.slots[at].path, path):
            return m.slots[at].transport
        at = (at + 1) & m.mask
    return 0


cdef void insert(AddressMap *m, uint64_t h, const Path *path, uint32_t transport) noexcept nogil:
    cdef uint32_t at = <uint32_t>h & m.mask
    while m.slots[at].hash:
        if m.slots[at].hash == h and path_equal(&m.slots[at].path, path):
            m.slots[at].transport = transport
            return
        at = (at + 1) & m.mask
    m.slots[at].hash = h
    m.slots[at].path = path[0]
    m.slots[at].transport = transport
    m.used += 1


cdef int address_map_put(AddressMap *m, const Path *path, uint32_t transport) noexcept nogil:
    """Add, or re-assign, a 5-tuple. 0, or -1 without memory."""
    cdef AddressSlot *old = m.slots
    cdef uint32_t i, old_mask = m.mask
    cdef AddressSlot *bigger
    if (m.used + 1) * 2 > m.mask + 1:
        bigger = <AddressSlot *>calloc((m.mask + 1) * 2, sizeof(AddressSlot))
        if bigger == NULL:
            return -1
        m.slots = bigger
        m.mask = m.mask * 2 + 1
        m.used = 0
        for i in range(old_mask + 1):
            if old[i].hash:
                insert(m, old[i].hash, &old[i].path, old[i].transport)
        free(old)
    insert(m, path_hash(m, path), path, transport)
    return 0


cdef void address_map_remove(AddressMap *m, const Path *path, uint32_t transport) noexcept nogil:
    """Remove the 5-tuple if it still belongs to `transport`; the probe sequence behind it is closed up."""
    cdef uint64_t h = path_hash(m, path)
    cdef uint32_t at = <uint32_t>h & m.mask
    cdef uint32_t probe, home
    while m.slots[at].hash:
        if m.slots[at].hash == h and path_equal(&m.slots[at].path, path):
            break
        at = (at + 1) & m.mask
    if not m.slots[at].hash or m.slots[at].transport != transport:
        return
    m.used -= 1
    probe = at
    while True:
        m.slots[at].hash = 0
        while True:
            probe = (probe + 1) & m.mask
            if not m.slots[probe].hash:
                return
            home = <uint32_t>m.slots[probe].hash & m.mask
            if ((probe - home) & m.mask) >= ((probe - at) & m.mask):
                break
        m.slots[at] = m.slots[probe]
        at = probe


cdef bint queue_handle(HandleQueue *q, uint32_t handle) noexcept nogil:
    cdef uint32_t capacity
    cdef uint32_t *items
    if q.count == q.capacity:
        capacity = q.capacity * 2 if q.capacity else 64
        items = <uint32_t *>realloc(q.items, capacity * sizeof(uint32_t))
        if items == NULL:
            return False
        q.items = items
        q.capacity = capacity
    q.items[q.count] = handle
    q.count += 1
    return True


cdef void note_transport(RouterState *s, Transport *t, uint32_t event) noexcept nogil:
    """Set an event bit; the object is queued once, however often it has something to tell."""
    if not t.events and not queue_handle(&s.transport_events, t.handle):
        return
    t.events |= event
    s.signal_python = True


cdef void note_track(RouterState *s, Track *t, uint32_t event) noexcept nogil:
    if not t.events and not queue_handle(&s.track_events, t.handle):
        return
    t.events |= event
    s.signal_python = True


cdef void note_forwarder(RouterState *s, Forwarder *f, uint32_t event) noexcept nogil:
    if not f.events and not queue_handle(&s.forwarder_events, f.handle):
        return
    f.events |= event
    s.signal_python = True


cdef void wake_transport(RouterState *s, Transport *t, int64_t at_us) noexcept nogil:
    """Let all timers of `t` run at `at_us` at the latest."""
    if at_us < t.check_due_us:
        t.check_due_us = at_us
    wake_pacer(s, t, at_us)


cdef void wake_pacer(RouterState *s, Transport *t, int64_t at_us) noexcept nogil:
    """Let pacer and estimator of `t` run at `at_us` at the latest; its sources and forwarders when they are due."""
    if at_us < schedule_due_us(&s.schedule, &t.timer):
        schedule_move(&s.schedule, &t.timer, at_us)


cdef uint32_t random_u32(RouterState *s) noexcept nogil:
    """xorshift64*, seeded from the operating system: SSRCs and first timestamps, no secrets."""
    s.random_state ^= s.random_state >> 12
    s.random_state ^= s.random_state << 25
    s.random_state ^= s.random_state >> 27
    return <uint32_t>((s.random_state * <uint64_t>0x2545F4914F6CDD1D) >> 32)
