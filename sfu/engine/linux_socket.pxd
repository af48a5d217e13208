# SPDX-License-Identifier: Apache-2.0
"""The parts of the Linux socket interface that the UDP socket and the load client use and Cython's libc declarations lack."""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t, uint64_t


cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <sys/socket.h>
    #ifndef UDP_SEGMENT             /* linux/udp.h, Linux 4.18; older libc headers lack it */
    #define UDP_SEGMENT 103
    #endif
    #ifndef UDP_GRO                 /* Linux 5.0 */
    #define UDP_GRO 104
    #endif
    """

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    ctypedef unsigned short sa_family_t
    enum:
        AF_INET, AF_INET6, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC
        SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE, SO_RXQ_OVFL, SO_TIMESTAMPNS, SCM_TIMESTAMPNS
    struct sockaddr:
        pass
    struct sockaddr_storage:
        sa_family_t ss_family
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    int c_socket "socket"(int domain, int kind, int protocol)
    int c_bind "bind"(int fd, const sockaddr *address, socklen_t size)
    int c_getsockname "getsockname"(int fd, sockaddr *address, socklen_t *size)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int n, int flags, void *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int n, int flags)
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *at)
    unsigned char *CMSG_DATA(cmsghdr *at)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IP_PKTINFO, IPV6_PKTINFO, IPV6_RECVPKTINFO, IPV6_V6ONLY, UDP_SEGMENT
        UDP_GRO
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        sa_family_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
    uint16_t ntohs(uint16_t value)
    uint16_t htons(uint16_t value)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef enum:
    MESSAGE_CONTROL_SIZE = 128  # bytes; the most are packet info, drops, timestamp and segment size on the way in: 120

cdef struct MessageControl:     # of one message
    uint64_t aligned[16]        # MESSAGE_CONTROL_SIZE bytes, aligned for cmsghdr
