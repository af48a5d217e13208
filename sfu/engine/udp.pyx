# SPDX-License-Identifier: Apache-2.0
"""The socket shell; see udp.pxd.

A dual-stack socket carries IPv4 as v4-mapped IPv6, and takes and gives IPV6_PKTINFO for both. Only a machine without
IPv6 gets an AF_INET socket. Inside the engine every address has 16 bytes.
"""

import errno
import ipaddress
import os
import socket

from libc.errno cimport (
    EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, ECONNREFUSED, EHOSTUNREACH, EINTR, EINVAL, EIO, EMSGSIZE,
    ENETDOWN, ENETUNREACH, ENOBUFS, ENODEV, ENOMEM, EPERM, errno as c_errno,
)
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from sfu.engine.address cimport Address, Datagram, Path, path_equal
from sfu.engine.linux_socket cimport *
from sfu.engine.memory cimport own_lines
from sfu.engine.udp_inbound cimport UdpInbound, inbound_close, inbound_open, inbound_receive, read_name


cdef enum:
    SOCKET_BUFFER_SIZE = 4 * 1024 * 1024    # bytes wanted each way; the kernel may grant less
    SEND_MESSAGES = 128                     # of one sendmmsg; measured flat from 72 to 128
    SEND_PACKETS = 512                      # of one sendmmsg, counting each segment
    GSO_MAX_SEGMENTS = 32                   # kernels before 5.x refuse more than 64; the gain is had at 16
    GSO_MAX_SIZE = 65_507                   # bytes: the longest UDP payload over IPv4

cdef uint8_t[16] UNSPECIFIED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]


cdef struct UdpScratch:
    UdpInbound *inbound
    mmsghdr out_messages[128]               # SEND_MESSAGES each
    sockaddr_storage out_names[128]
    MessageControl out_controls[128]
    iovec out_vectors[512]                  # SEND_PACKETS
    uint32_t out_packets[128]               # of each message


cdef int udp_receive(UdpSocket *udp, Datagram *batch, uint32_t capacity) noexcept nogil:
    return inbound_receive(udp.scratch.inbound, udp, batch, capacity)


# --- sending ---

cdef uint32_t group_size(const EgressPacket *packets, uint32_t n) noexcept nogil:
    """How many of `packets`, from the first on, one UDP_SEGMENT send can carry."""
    cdef uint32_t segment = packets[0].size, total = packets[0].size, i = 1
    if segment == 0:
        return 1
    n = min(n, <uint32_t>GSO_MAX_SEGMENTS)
    while i < n:
        if packets[i].size > segment or packets[i].size == 0 or total + packets[i].size > GSO_MAX_SIZE:
            break
        if not path_equal(&packets[i].path, &packets[0].path):
            break
        total += packets[i].size
        i += 1
        if packets[i - 1].size < segment:       # only the last may be shorter
            break
    return i


cdef void *add_control(msghdr *message, int level, int kind, size_t size) noexcept nogil:
    """Appends a control message; the caller fills its `size` bytes."""
    cdef cmsghdr *at = <cmsghdr *>(<uint8_t *>message.msg_control + message.msg_controllen)
    at.cmsg_level = level
    at.cmsg_type = kind
    at.cmsg_len = CMSG_LEN(size)
    message.msg_controllen += CMSG_SPACE(size)
    return CMSG_DATA(at)


cdef void write_remote(msghdr *message, const Address *remote, bint ipv4_only) noexcept nogil:
    cdef sockaddr_in *v4
    cdef sockaddr_in6 *v6
    if ipv4_only:
        v4 = <sockaddr_in *>message.msg_name
        memset(v4, 0, sizeof(sockaddr_in))
        v4.sin_family = AF_INET
        v4.sin_port = htons(remote.port)
        memcpy(&v4.sin_addr, remote.ip + 12, 4)
        message.msg_namelen = sizeof(sockaddr_in)
    else:
        v6 = <sockaddr_in6 *>message.msg_name
        memset(v6, 0, sizeof(sockaddr_in6))
        v6.sin6_family = AF_INET6
        v6.sin6_port = htons(remote.port)
        memcpy(&v6.sin6_addr, remote.ip, 16)
        v6.sin6_scope_id = remote.scope_id
        message.msg_namelen = sizeof(sockaddr_in6)


cdef void write_local(msghdr *message, const Path *path, bint ipv4_only) noexcept nogil:
    cdef in_pktinfo *v4
    cdef in6_pktinfo *v6
    if memcmp(path.local_ip, UNSPECIFIED, 16) == 0 and path.interface_index == 0:
        return
    if ipv4_only:
        v4 = <in_pktinfo *>add_control(message, IPPROTO_IP, IP_PKTINFO, sizeof(in_pktinfo))
        memset(v4, 0, sizeof(in_pktinfo))
        memcpy(&v4.ipi_spec_dst, path.local_ip + 12, 4)
    else:
        v6 = <in6_pktinfo *>add_control(message, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(in6_pktinfo))
        memcpy(&v6.ipi6_addr, path.local_ip, 16)
        v6.ipi6_ifindex = path.interface_index


cdef void compose(UdpSocket *udp, uint32_t at, uint32_t vector, const EgressPacket *packets, uint32_t n) noexcept nogil:
    """Message `at` carries the `n` packets, all for one path, through the vectors from `vector` on."""
    cdef UdpScratch *scratch = udp.scratch
    cdef msghdr *message = &scratch.out_messages[at].msg_hdr
    cdef iovec *last = &scratch.out_vectors[vector]
    cdef uint16_t segment
    cdef uint32_t i
    last.iov_base = packets[0].data
    last.iov_len = packets[0].size
    for i in range(1, n):
        # Packets of one batch mostly lie behind each other: one vector is cheaper for the kernel than one for each.
        if packets[i].data == <uint8_t *>last.iov_base + last.iov_len:
            last.iov_len += packets[i].size
        else:
            last += 1
            last.iov_base = packets[i].data
            last.iov_len = packets[i].size
    message.msg_iov = &scratch.out_vectors[vector]
    message.msg_iovlen = <size_t>(last - message.msg_iov) + 1
    scratch.out_packets[at] = n
    message.msg_control = &scratch.out_controls[at]
    message.msg_controllen = 0
    message.msg_flags = 0
    write_remote(message, &packets[0].path.remote, udp.ipv4_only)
    write_local(message, &packets[0].path, udp.ipv4_only)
    if n > 1:
        segment = packets[0].size
        memcpy(add_control(message, IPPROTO_UDP, UDP_SEGMENT, sizeof(segment)), &segment, sizeof(segment))


cdef void count_sent(UdpSocket *udp, uint32_t at) noexcept nogil:
    cdef mmsghdr *message = &udp.scratch.out_messages[at]
    udp.counters.sent += udp.scratch.out_packets[at]
    udp.counters.sent_bytes += message.msg_len
    udp.counters.sent_messages += 1
    if udp.scratch.out_packets[at] > 1:
        udp.counters.sent_gso_batches += 1


cdef void count_error(UdpCounters *counters, int error, uint32_t packets) noexcept nogil:
    if error == ENETUNREACH or error == EHOSTUNREACH or error == ENETDOWN or error == EADDRNOTAVAIL or error == ENODEV:
        counters.unreachable += packets
    elif error == ECONNREFUSED:
        counters.refused += packets
    elif error == EPERM or error == EACCES:
        counters.forbidden += packets
    elif error == EMSGSIZE:
        counters.too_big += packets
    elif error == EINVAL or error == EAFNOSUPPORT:
        counters.invalid += packets
    elif error == ENOBUFS or error == ENOMEM:
        counters.no_memory += packets
    else:
        counters.other_errors += packets


cdef int send_composed(UdpSocket *udp, uint32_t begin, uint32_t end) noexcept nogil:
    """sendmmsg of the messages from `begin` to before `end`: how many went, or minus the errno of the first."""
    cdef int sent
    while True:
        udp.counters.send_calls += 1
        sent = sendmmsg(udp.fd, &udp.scratch.out_messages[begin], end - begin, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if c_errno != EINTR:
            return -c_errno


cdef uint32_t send_batch(UdpSocket *udp, const EgressPacket *packets, uint32_t n, bint group,
                         bint *blocked) noexcept nogil:
    """One batch from the first packet on; returns how many packets are done with. *blocked: the send buffer is full."""
    cdef uint32_t messages = 0, composed = 0, at = 0, done = 0, size
    cdef int sent, i
    n = min(n, <uint32_t>SEND_PACKETS)
    while composed < n and messages < <uint32_t>SEND_MESSAGES:
        size = group_size(packets + composed, n - composed) if group else 1
        compose(udp, messages, composed, packets + composed, size)
        composed += size
        messages += 1
    while at < messages:
        sent = send_composed(udp, at, messages)
        if sent == -EAGAIN:
            udp.counters.would_block += 1
            blocked[0] = True
            return done
        if sent < 0:
            size = udp.scratch.out_packets[at]
            if size > 1 and (sent == -EIO or sent == -EINVAL or sent == -EMSGSIZE):
                # No checksum offload on that device (EIO), or segments above its MTU (EINVAL, EMSGSIZE).
                udp.counters.gso_fallbacks += 1
                return done + send_batch(udp, packets + done, size, False, blocked)
            count_error(&udp.counters, -sent, size)
            done += size
            at += 1
            continue
        for i in range(sent):
            count_sent(udp, at)
            done += udp.scratch.out_packets[at]
            at += 1
    return done


cdef int udp_send(UdpSocket *udp, const EgressPacket *packets, uint32_t n) noexcept nogil:
    cdef uint32_t done = 0
    cdef bint blocked = False
    while done < n and not blocked:
        done += send_batch(udp, packets + done, n - done, udp.gso, &blocked)
    return <int>done


# --- opening ---

cdef void set_option(int fd, int level, int name, int value) noexcept nogil:
    setsockopt(fd, level, name, &value, sizeof(value))


cdef uint32_t set_buffer(int fd, int forced, int plain) noexcept nogil:
    """Returns what the kernel granted; beyond net.core.[rw]mem_max only with CAP_NET_ADMIN."""
    cdef int size = SOCKET_BUFFER_SIZE
    cdef socklen_t length = sizeof(size)
    if setsockopt(fd, SOL_SOCKET, forced, &size, sizeof(size)) != 0:
        setsockopt(fd, SOL_SOCKET, plain, &size, sizeof(size))
    if getsockopt(fd, SOL_SOCKET, plain, &size, &length) != 0:
        return 0
    return <uint32_t>size // 2      # Linux reports twice the size that may be used


cdef bint supports_gso(int fd) noexcept nogil:
    cdef int value = 0
    return setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, sizeof(value)) == 0


cdef bint joins_runs(int fd) noexcept nogil:
    """Asks for runs of datagrams as one: False where the kernel has no UDP_GRO."""
    cdef int value = 1
    return setsockopt(fd, IPPROTO_UDP, UDP_GRO, &value, sizeof(value)) == 0


cdef int bind_socket(int fd, bint ipv4_only, const uint8_t *ip, uint32_t scope_id, uint16_t port) noexcept nogil:
    cdef sockaddr_storage name
    cdef msghdr message
    cdef Address address
    memset(&message, 0, sizeof(message))
    message.msg_name = &name
    memcpy(address.ip, ip, 16)
    address.port = port
    address.scope_id = scope_id
    write_remote(&message, &address, ipv4_only)
    return c_bind(fd, <const sockaddr *>&name, message.msg_namelen)


cdef uint16_t bound_port(int fd) noexcept nogil:
    cdef sockaddr_storage name
    cdef socklen_t size = sizeof(name)
    cdef Address address
    if c_getsockname(fd, <sockaddr *>&name, &size) != 0:
        return 0
    read_name(&name, &address)
    return address.port


cdef void free_scratch(UdpScratch *scratch) noexcept nogil:
    if scratch != NULL:
        inbound_close(scratch.inbound)
        free(scratch)


cdef UdpScratch *make_scratch(bint gro) noexcept nogil:
    cdef UdpScratch *scratch = <UdpScratch *>calloc(1, sizeof(UdpScratch))
    cdef uint32_t i
    if scratch == NULL:
        return NULL
    scratch.inbound = inbound_open(gro)
    if scratch.inbound == NULL:
        free(scratch)
        return NULL
    for i in range(<uint32_t>SEND_MESSAGES):
        scratch.out_messages[i].msg_hdr.msg_name = &scratch.out_names[i]
    return scratch


def parse_ip(host):
    """(16 bytes, scope id, True where the address is IPv4); None is the unspecified address."""
    if host is None:
        return bytes(16), 0, False
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address: give one of this machine's addresses as --udp-host, "
                         "or leave it out to listen on all") from None
    if parsed.version == 4:
        # 0.0.0.0 on a dual-stack socket would be ::ffff:0.0.0.0, which Linux takes as "all of IPv4".
        return b"\0" * 10 + b"\xff\xff" + parsed.packed, 0, True
    return parsed.packed, _scope_id(host, parsed.scope_id), False


def _scope_id(host, scope):
    if scope is None:
        return 0
    if scope.isdecimal():
        return int(scope)
    try:
        return socket.if_nametoindex(scope)
    except OSError:
        raise ValueError(f"{host!r} names the network interface {scope!r}, which does not exist") from None


def _bind_error(int error, host, port):
    shown = "all addresses" if host is None else host
    advice = {
        errno.EADDRINUSE: "another program (or another pysfu) uses this port: stop it, or choose another --udp-port",
        errno.EACCES: "ports below 1024 need privileges: choose a higher --udp-port",
        errno.EPERM: "the system forbids it: check the container's or service's sandbox",
        errno.EADDRNOTAVAIL: "this machine has no such address: choose another --udp-host, or leave it out",
        errno.EAFNOSUPPORT: "this machine has no IPv6: choose an IPv4 --udp-host, or leave it out",
        errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
    }.get(error, "check --udp-host and --udp-port")
    return OSError(error, f"cannot listen on UDP port {port} of {shown}: {os.strerror(error)}; {advice}")


cdef UdpSocket *udp_open(str host, int port, bint gso, bint gro) except NULL:
    if not 0 <= port <= 65535:
        raise ValueError(f"UDP port {port} is out of range: choose 0 (any) to 65535")
    ip, scope_id, is_ipv4 = parse_ip(host)
    cdef bint ipv4_only = False
    cdef int fd = c_socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    # With net.ipv6.conf.all.disable_ipv6 the socket can be made, but not bound to "all addresses".
    cdef int error = c_errno if fd < 0 else _try_bind(fd, False, ip, scope_id, port)
    if (error == EAFNOSUPPORT or error == EADDRNOTAVAIL) and (host is None or is_ipv4):
        if fd >= 0:
            c_close(fd)
        ipv4_only = True
        fd = c_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        error = c_errno if fd < 0 else _try_bind(fd, True, ip, scope_id, port)
    if error != 0:
        if fd >= 0:
            c_close(fd)
        raise _bind_error(error, host, port)
    cdef UdpSocket *udp = <UdpSocket *>own_lines(sizeof(UdpSocket))
    gro = gro and joins_runs(fd)
    cdef UdpScratch *scratch = make_scratch(gro)
    if udp == NULL or scratch == NULL:
        free(udp)
        free_scratch(scratch)
        c_close(fd)
        raise MemoryError
    udp.fd = fd
    udp.scratch = scratch
    udp.ipv4_only = ipv4_only
    udp.port = bound_port(fd)
    udp.gso = gso and supports_gso(fd)
    udp.gro = gro
    udp.receive_buffer = set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF)
    udp.send_buffer = set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF)
    return udp


cdef int _try_bind(int fd, bint ipv4_only, bytes ip, uint32_t scope_id, int port):
    """Options that must be there before the first datagram, then bind: 0 or an errno."""
    if ipv4_only:
        set_option(fd, IPPROTO_IP, IP_PKTINFO, 1)
    else:
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)
        set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1)
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return 0 if bind_socket(fd, ipv4_only, ip, scope_id, <uint16_t>port) == 0 else c_errno


cdef void udp_shut(UdpSocket *udp) noexcept nogil:
    """Give the port back; its number and the counters can still be read."""
    if udp.fd >= 0:
        c_close(udp.fd)
        udp.fd = -1


cdef void udp_close(UdpSocket *udp) noexcept nogil:
    if udp != NULL:
        udp_shut(udp)
        free_scratch(udp.scratch)
        free(udp)
