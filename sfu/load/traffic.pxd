# SPDX-License-Identifier: Apache-2.0
"""The media of many load bots in one native thread: sockets, SRTP, paced sending, counting, feedback.

Signalling, ICE and DTLS stay with the asyncio bot; what comes in of them goes up as control datagrams. The thread looks
at its sockets at a steady pace instead of being woken by each packet: arrival times are the kernel's.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from sfu.engine.handover cimport Handover
from sfu.engine.srtp cimport Srtp
from sfu.engine.transport_cc cimport ArrivalLog
from sfu.load.program cimport Sender
from sfu.load.reception_log cimport Histogram, ReceptionLog


cdef enum:
    PEERS_MAX = 16384
    GROUPS = 8                  # of streams whose latencies are told apart
    SPREAD_FRAMES = 1024        # frames of a group that are followed at once; a power of two
    CONTROL_ROOM = 1024         # control datagrams that wait for Python; a power of two
    CONTROL_SIZE = 2048


cdef struct SsrcEntry:
    uint32_t ssrc               # 0 = free
    bint rtx
    ReceptionLog *log


cdef struct Peer:
    int fd
    uint32_t generation
    Srtp *inbound
    Srtp *outbound
    ArrivalLog *arrivals        # NULL: no transport-wide feedback
    uint8_t transport_cc_id     # of what comes in; 0 = none
    bint nack
    bint feedback_due           # something arrived since the last feedback
    uint16_t transport_sequence
    uint32_t report_ssrc
    uint32_t entry_mask
    uint32_t entry_count
    SsrcEntry *entries          # open addressing
    ReceptionLog **logs
    uint32_t log_count
    Sender **senders
    uint32_t sender_count
    int64_t feedback_us         # when they are due
    int64_t report_us
    int64_t nack_us
    int64_t keyframe_asked_us
    uint64_t datagrams
    uint64_t unknown            # packets of SSRCs that nobody announced
    uint64_t bad_rtcp
    uint32_t kernel_dropped     # the socket's running count


cdef struct FrameSpread:
    uint32_t frame
    uint32_t receivers          # that have its last packet
    int64_t sent_ns
    int64_t first_ns
    int64_t last_ns


cdef struct ControlDatagram:
    uint32_t peer
    uint32_t generation
    uint32_t size
    uint8_t data[2048]          # CONTROL_SIZE


cdef struct TrafficState:
    Handover lock
    int running
    int epoll_fd
    int event_fd                # readable while control datagrams wait
    bint gro
    bint signalled
    uint32_t sample_every       # of a stream's packets one in so many is decrypted; 0 = none
    bint sample_markers         # and the last one of each frame
    int64_t poll_us
    int64_t feedback_us
    uint32_t peer_count         # highest used + 1
    Peer *peers[16384]          # PEERS_MAX
    uint32_t next_generation
    int64_t next_due_us         # of any sender
    int64_t next_care_us
    uint64_t received           # packets
    uint64_t received_bytes
    uint64_t sent
    uint64_t send_failures
    uint64_t control_lost
    uint64_t kernel_dropped     # by full receive buffers of ours
    int64_t cpu_ns
    int64_t latest_us           # how late a frame was sent at worst
    Histogram latency[8]        # GROUPS
    FrameSpread *spread         # GROUPS × SPREAD_FRAMES
    ControlDatagram *control
    uint64_t control_in
    uint64_t control_out
    void *scratch
