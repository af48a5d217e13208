# SPDX-License-Identifier: Apache-2.0
"""The receiving half of the socket shell; see udp_inbound.pxd.

Datagrams of a run lie back to back in one buffer, and are decrypted there: whoever gets one may write within its size, not
behind it.
"""

from libc.errno cimport EAGAIN, EINTR, errno as c_errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from sfu.engine.address cimport Path
from sfu.engine.linux_socket cimport *
from sfu.engine.memory cimport own_lines_unset
from sfu.engine.udp cimport UDP_BATCH, UDP_BUFFER_SIZE


cdef enum:
    LONGEST_WAIT_US = 10_000_000
    RUN_SIZE = 65_536           # bytes; a run, with its IP header, is no longer
    # Between the buffers of runs. Half a page more than a run, so that their beginnings, all that single datagrams touch,
    # spread over the sets of the caches as those of small buffers do. Untouched pages cost address space only.
    RUN_SPACING = RUN_SIZE + UDP_BUFFER_SIZE

cdef uint8_t[12] V4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]


cdef struct UdpInbound:
    mmsghdr messages[64]        # UDP_BATCH each
    iovec vectors[64]
    sockaddr_storage names[64]
    MessageControl controls[64]
    uint8_t *data
    uint32_t count              # messages of the last recvmmsg
    uint32_t at                 # the first that is not handed out; before `count` only where a batch had no room for all
    uint32_t offset             # bytes of it that are
    uint32_t dropped            # the socket's running SO_RXQ_OVFL count


cdef UdpInbound *inbound_open(bint gro) noexcept nogil:
    cdef UdpInbound *inbound = <UdpInbound *>calloc(1, sizeof(UdpInbound))
    cdef size_t spacing = RUN_SPACING if gro else UDP_BUFFER_SIZE
    cdef msghdr *message
    cdef uint32_t i
    if inbound == NULL:
        return NULL
    inbound.data = <uint8_t *>own_lines_unset(UDP_BATCH * spacing)
    if inbound.data == NULL:
        free(inbound)
        return NULL
    for i in range(<uint32_t>UDP_BATCH):
        inbound.vectors[i].iov_base = inbound.data + i * spacing
        inbound.vectors[i].iov_len = RUN_SIZE if gro else UDP_BUFFER_SIZE
        message = &inbound.messages[i].msg_hdr
        message.msg_iov = &inbound.vectors[i]
        message.msg_iovlen = 1
        message.msg_name = &inbound.names[i]
        message.msg_control = &inbound.controls[i]
    return inbound


cdef void inbound_close(UdpInbound *inbound) noexcept nogil:
    if inbound != NULL:
        free(inbound.data)
        free(inbound)


# --- what the kernel tells of a message ---

cdef inline bint is_link_local(const uint8_t *ip) noexcept nogil:
    return ip[0] == 0xFE and (ip[1] & 0xC0) == 0x80


cdef inline void map_ipv4(uint8_t *ip, const void *address) noexcept nogil:
    memcpy(ip, V4_MAPPED, 12)
    memcpy(ip + 12, address, 4)


cdef void read_name(const sockaddr_storage *name, Address *out) noexcept nogil:
    cdef const sockaddr_in *v4 = <const sockaddr_in *>name
    cdef const sockaddr_in6 *v6 = <const sockaddr_in6 *>name
    if name.ss_family == AF_INET:
        map_ipv4(out.ip, &v4.sin_addr)
        out.port = ntohs(v4.sin_port)
        out.scope_id = 0
    else:
        memcpy(out.ip, &v6.sin6_addr, 16)
        out.port = ntohs(v6.sin6_port)
        out.scope_id = v6.sin6_scope_id


cdef int read_controls(UdpInbound *inbound, UdpSocket *udp, msghdr *message, Datagram *datagram,
                       const timespec *now) noexcept nogil:
    """Returns the size of the run's segments, 0 for a single datagram. May be asked again for the same message."""
    cdef Path *path = &datagram.path
    cdef timespec stamp
    cdef int64_t waited_us
    cdef cmsghdr *at = CMSG_FIRSTHDR(message)
    cdef const in_pktinfo *v4
    cdef const in6_pktinfo *v6
    cdef uint32_t dropped
    cdef int segment = 0
    memset(path.local_ip, 0, 16)
    path.interface_index = 0
    datagram.waited_us = 0
    while at != NULL:
        if at.cmsg_level == IPPROTO_IPV6 and at.cmsg_type == IPV6_PKTINFO:
            v6 = <const in6_pktinfo *>CMSG_DATA(at)
            memcpy(path.local_ip, &v6.ipi6_addr, 16)
            # Elsewhere routing chooses the interface: the way back may be another one.
            if is_link_local(path.local_ip) or is_link_local(path.remote.ip):
                path.interface_index = v6.ipi6_ifindex
        elif at.cmsg_level == IPPROTO_IP and at.cmsg_type == IP_PKTINFO:
            v4 = <const in_pktinfo *>CMSG_DATA(at)
            map_ipv4(path.local_ip, &v4.ipi_addr)
        elif at.cmsg_level == IPPROTO_UDP and at.cmsg_type == UDP_GRO:
            memcpy(&segment, CMSG_DATA(at), sizeof(segment))
        elif at.cmsg_level == SOL_SOCKET and at.cmsg_type == SO_RXQ_OVFL:
            memcpy(&dropped, CMSG_DATA(at), sizeof(dropped))
            # The kernel's count is 32 bits wide and wraps.
            udp.counters.kernel_dropped += <uint32_t>(dropped - inbound.dropped)
            inbound.dropped = dropped
        elif at.cmsg_level == SOL_SOCKET and at.cmsg_type == SCM_TIMESTAMPNS:
            memcpy(&stamp, CMSG_DATA(at), sizeof(stamp))
            waited_us = (now.tv_sec - stamp.tv_sec) * 1_000_000 + (now.tv_nsec - stamp.tv_nsec) // 1000
            # The clock may have been set meanwhile.
            if 0 < waited_us < LONGEST_WAIT_US:
                datagram.waited_us = <uint32_t>waited_us
        at = CMSG_NXTHDR(message, at)
    return segment


# --- receiving ---

cdef void fetch(UdpInbound *inbound, UdpSocket *udp, uint32_t n) noexcept nogil:
    """recvmmsg; leaves no message where nothing waits or the socket had an error."""
    cdef msghdr *message
    cdef uint32_t i
    cdef int got
    inbound.at = 0
    inbound.offset = 0
    inbound.count = 0
    for i in range(n):
        message = &inbound.messages[i].msg_hdr
        message.msg_namelen = sizeof(sockaddr_storage)
        message.msg_controllen = MESSAGE_CONTROL_SIZE
        message.msg_flags = 0
    while True:
        got = recvmmsg(udp.fd, inbound.messages, n, MSG_DONTWAIT, NULL)
        if got >= 0:
            inbound.count = <uint32_t>got
            udp.counters.received_messages += <uint32_t>got
            return
        if c_errno != EINTR:
            if c_errno != EAGAIN:
                udp.counters.receive_errors += 1
            return


cdef uint32_t part(UdpInbound *inbound, UdpSocket *udp, const timespec *now, Datagram *batch, uint32_t room) noexcept nogil:
    """Up to `room` (at least one) datagrams of the message at hand; goes on to the next one after its last."""
    cdef mmsghdr *message = &inbound.messages[inbound.at]
    cdef uint8_t *data = <uint8_t *>inbound.vectors[inbound.at].iov_base + inbound.offset
    cdef uint32_t left = message.msg_len - inbound.offset
    cdef uint32_t segment, size, kept = 0
    read_name(&inbound.names[inbound.at], &batch.path.remote)
    # Of a run the kernel tells these once: the time is that of its first datagram.
    segment = <uint32_t>max(0, read_controls(inbound, udp, &message.msg_hdr, batch, now))
    if message.msg_hdr.msg_flags & MSG_TRUNC:
        udp.counters.truncated += 1
        left = 0
    else:
        if inbound.offset == 0 and 0 < segment < left:
            udp.counters.received_gro_batches += 1
        while True:
            size = min(segment, left) if segment else left
            if size > UDP_BUFFER_SIZE:
                udp.counters.truncated += 1
            elif kept == room:
                break
            else:
                if kept:
                    batch[kept] = batch[0]
                batch[kept].data = data
                batch[kept].size = size
                kept += 1
            data += size
            left -= size
            if left == 0:
                break
    inbound.offset = message.msg_len - left
    if left == 0:
        inbound.at += 1
        inbound.offset = 0
    return kept


cdef int inbound_receive(UdpInbound *inbound, UdpSocket *udp, Datagram *batch, uint32_t capacity) noexcept nogil:
    cdef timespec now
    cdef uint32_t kept = 0
    capacity = min(capacity, <uint32_t>UDP_BATCH)
    if inbound.at == inbound.count:
        fetch(inbound, udp, capacity)
    if inbound.at < inbound.count:
        clock_gettime(CLOCK_REALTIME, &now)     # the kernel's timestamps are in it
    while inbound.at < inbound.count and kept < capacity:
        kept += part(inbound, udp, &now, &batch[kept], capacity - kept)
    udp.counters.received += kept
    return <int>kept
