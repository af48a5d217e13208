# SPDX-License-Identifier: Apache-2.0
"""Demultiplexing and ICE-lite; see `demux.pxd`.

Nothing that is not authenticated wakes Python: STUN is verified and answered here (RFC 8445 §7.3), and DTLS is passed on only
from addresses that have passed a check, within a token bucket.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy
from sfu.engine cimport drops
from sfu.engine.address cimport Datagram, Path, path_equal
from sfu.engine.egress cimport egress_buffer, egress_commit
from sfu.engine.feedback cimport receive_rtcp
from sfu.engine.ingress cimport receive_rtp
from sfu.engine.relay cimport RELAY_PATH, relay_of
from sfu.engine.srtp cimport hmac_sha1
from sfu.engine.tables cimport (
    DTLS_RING, EGRESS_BUFFER, EVENT_PATH, MAX_PATHS, PendingDtls, RouterState, Transport, address_map_find,
    address_map_put, address_map_remove, note_transport, transport_of, wake_transport,
)
from sfu.wire.rtp cimport is_rtcp, is_rtp_or_rtcp
from sfu.wire.stun cimport (
    STUN_BINDING_REQUEST, StunMessage, stun_is_message, stun_parse, stun_verify, stun_write_error, stun_write_success,
)

cdef enum:
    # DTLS of one transport: a handshake is 4 to 8 datagrams, SCTP later sends a few hundred a second at most.
    DTLS_SPACING_US = 2_000    # between datagrams in the long run
    DTLS_BURST = 64
    MAX_DTLS = 1500            # bytes
    IP_UDP_BYTES = 28          # of each datagram on the link (IPv4)
    INBOUND_BURST_NS = 500_000_000 # so much sending at the limit is forgiven at once: keyframes of all layers
    ROLE_CONFLICT = 487        # RFC 8445 §7.3.1.1


cdef void receive_datagram(RouterState *s, Datagram *datagram, int64_t now_us) noexcept nogil:
    cdef uint8_t first
    cdef uint32_t handle
    cdef Transport *t
    s.received_packets += 1
    s.received_bytes += datagram.size
    if datagram.size < 4:
        s.drops[drops.DROP_MALFORMED] += 1
        return
    first = datagram.data[0]
    if first < 4:
        receive_stun(s, datagram, now_us)
        return
    handle = address_map_find(&s.addresses, &datagram.path)
    t = relay_of(s, datagram) if handle == RELAY_PATH else transport_of(s, handle)
    if t == NULL:
        s.drops[drops.DROP_NO_ROUTE if handle == RELAY_PATH else drops.DROP_UNKNOWN_ADDRESS] += 1
        return
    t.packets_received += 1
    t.bytes_received += datagram.size
    if t.relay_leg:
        s.relays.packets_received += 1
        s.relays.bytes_received += datagram.size
    if is_rtp_or_rtcp(first):
        t.heard_us = now_us
        if t.quiet:
            t.quiet = False
            wake_transport(s, t, now_us)
        if s.inbound_limit_bps and not t.relay_leg and not within_rate(s, t, datagram.size, now_us):
            s.drops[drops.DROP_INBOUND_RATE] += 1
            return
        if is_rtcp(datagram.data, datagram.size):
            receive_rtcp(s, t, datagram.data, datagram.size, now_us)
        else:
            receive_rtp(s, t, datagram.data, datagram.size, now_us)
    elif 20 <= first < 64:
        receive_dtls(s, t, datagram, now_us)
    else:
        s.drops[drops.DROP_UNEXPECTED] += 1


cdef inline bint within_rate(RouterState *s, Transport *t, uint32_t size, int64_t now_us) noexcept nogil:
    """Whether the peer's allowance covers this datagram. Asked before decryption, which is most of what a flood costs."""
    cdef int64_t now_ns = now_us * 1000
    if t.inbound_paid_ns < now_ns:
        t.inbound_paid_ns = now_ns
    if t.inbound_paid_ns - now_ns > INBOUND_BURST_NS:
        return False
    t.inbound_paid_ns += <int64_t>(size + IP_UDP_BYTES) * 8 * 1_000_000_000 // s.inbound_limit_bps
    return True


cdef void receive_dtls(RouterState *s, Transport *t, const Datagram *datagram, int64_t now_us) noexcept nogil:
    """Queue a DTLS datagram for Python, within the transport's allowance."""
    cdef PendingDtls *pending
    t.dtls_credit_us += now_us - t.dtls_credited_us
    t.dtls_credited_us = now_us
    if t.dtls_credit_us > DTLS_BURST * DTLS_SPACING_US:
        t.dtls_credit_us = DTLS_BURST * DTLS_SPACING_US
    if t.dtls_credit_us < DTLS_SPACING_US:
        s.drops[drops.DROP_DTLS_RATE] += 1
        return
    if s.dtls_count == DTLS_RING or datagram.size > MAX_DTLS:
        s.drops[drops.DROP_EVENTS_FULL] += 1
        return
    t.dtls_credit_us -= DTLS_SPACING_US
    pending = &s.dtls[(s.dtls_head + s.dtls_count) % DTLS_RING]
    pending.transport = t.handle
    pending.size = <unsigned short>datagram.size
    memcpy(pending.data, datagram.data, datagram.size)
    s.dtls_count += 1
    s.dtls_received += 1
    s.signal_python = True


cdef int hex_digit(uint8_t c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= c <= 102:
        return c - 87
    return -1


cdef Transport *transport_of_username(RouterState *s, const uint8_t *username, uint32_t size) noexcept nogil:
    """The transport that our half of the USERNAME names (RFC 8445 §7.2.2: `ours:theirs`)."""
    cdef uint32_t handle = 0
    cdef int i, digit
    cdef Transport *t
    if username == NULL or size < UFRAG_SIZE + 1 or username[UFRAG_SIZE] != 58:
        return NULL
    for i in range(UFRAG_HANDLE, UFRAG_HANDLE + 8):
        digit = hex_digit(username[i])
        if digit < 0:
            return NULL
        handle = (handle << 4) | <uint32_t>digit
    t = transport_of(s, handle)
    if t == NULL or t.ufrag_size != UFRAG_SIZE or memcmp(t.ufrag, username, UFRAG_SIZE) != 0:
        return NULL
    return t


cdef void receive_stun(RouterState *s, const Datagram *datagram, int64_t now_us) noexcept nogil:
    """Answer a connectivity check of a transport's peer, and remember where it came from."""
    cdef StunMessage message
    cdef Transport *t
    cdef uint8_t *buffer
    cdef uint32_t size
    if not stun_is_message(datagram.data, datagram.size) or stun_parse(datagram.data, datagram.size, &message):
        s.drops[drops.DROP_MALFORMED] += 1
        return
    if message.type != STUN_BINDING_REQUEST:
        s.drops[drops.DROP_UNEXPECTED] += 1
        return
    t = transport_of_username(s, message.username, message.username_size)
    if t == NULL:
        s.drops[drops.DROP_UNKNOWN_TRANSPORT] += 1
        return
    if not stun_verify(datagram.data, &message, t.password, t.password_size, hmac_sha1):
        s.drops[drops.DROP_BAD_AUTH] += 1
        return
    s.stun_received += 1
    buffer = egress_buffer(s)
    if buffer == NULL:
        return
    if message.controlled:
        size = stun_write_error(buffer, EGRESS_BUFFER, message.transaction_id, ROLE_CONFLICT, t.password, t.password_size,
                                hmac_sha1)
        egress_commit(s, t, &datagram.path, size)
        return
    size = stun_write_success(buffer, EGRESS_BUFFER, message.transaction_id, datagram.path.remote.ip,
                              datagram.path.remote.port, t.password, t.password_size, hmac_sha1)
    t.packets_received += 1
    t.bytes_received += datagram.size
    if authenticate(s, t, &datagram.path, message.use_candidate, now_us):
        egress_commit(s, t, &datagram.path, size)


cdef bint authenticate(RouterState *s, Transport *t, const Path *path, bint nominated, int64_t now_us) noexcept nogil:
    """Accept this 5-tuple. Send to the first one until one is nominated, then to the one nominated last."""
    cdef uint32_t at
    if address_map_find(&s.addresses, path) == RELAY_PATH:
        s.drops[drops.DROP_UNEXPECTED] += 1
        return False         # a peer with a forged source address
    for at in range(t.path_count):
        if path_equal(&t.paths[at].path, path):
            # Another transport may have taken the 5-tuple over meanwhile (a port used again, a forged source address).
            if address_map_put(&s.addresses, path, t.handle):
                return False
            break
    else:
        at = add_path(s, t, path)
        if at >= MAX_PATHS:
            return False
    t.paths[at].seen_us = now_us
    t.consent_us = now_us
    if t.expired or t.selected < 0:
        wake_transport(s, t, now_us)
    t.expired = False
    if t.selected < 0 or (nominated and (t.selected != <int>at or not t.nominated)):
        t.selected = <signed char>at
        t.nominated = t.nominated or nominated
        note_transport(s, t, EVENT_PATH)
    return True


cdef uint32_t add_path(RouterState *s, Transport *t, const Path *path) noexcept nogil:
    """Its index; MAX_PATHS without memory. With all places taken, the one unheard for longest goes."""
    cdef uint32_t at, oldest = MAX_PATHS
    if address_map_put(&s.addresses, path, t.handle):
        return MAX_PATHS
    if t.path_count < MAX_PATHS:
        at = t.path_count
        t.path_count += 1
    else:
        for at in range(MAX_PATHS):
            if <int>at != t.selected and (oldest == MAX_PATHS or t.paths[at].seen_us < t.paths[oldest].seen_us):
                oldest = at
        at = oldest
        address_map_remove(&s.addresses, &t.paths[at].path, t.handle)
    t.paths[at].path = path[0]
    return at
