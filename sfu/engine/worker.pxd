# SPDX-License-Identifier: Apache-2.0
"""Worker: one native thread, one UDP socket, one Router. The thread never holds the GIL."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from sfu.engine.address cimport Datagram
from sfu.engine.commands cimport Commands
from sfu.engine.event_batch cimport EventBatch
from sfu.engine.handover cimport Handover
from sfu.engine.latency cimport Latency
from sfu.engine.snapshot cimport Snapshot
from sfu.engine.tables cimport RouterState
from sfu.engine.udp cimport UdpSocket

cdef struct WorkerState:
    uint8_t before[64]        # keeps what lies around it in memory off its cache lines: it is a part of a Python object
    RouterState *router
    UdpSocket *udp
    Handover lock             # guards the router; the egress batch belongs to the thread alone
    int event_fd              # Python waits on it
    int wake_fd               # the thread waits on it
    int running
    int sleeping              # the thread is (about to be) in poll: wake it after a control call
    int signalled             # event_fd was written since Python last drained (under the lock)
    Snapshot snapshots[2]
    int published             # which of the two Python may read
    int reading               # Python is at it: publish nothing meanwhile
    int64_t snapshot_due_us
    bint taking_snapshot
    uint64_t busy_us
    int64_t load_since_us     # since when the load is measured, and busy_us then
    uint64_t load_busy_us
    Latency latency[3]        # by LatencyClass
    Latency control_wait      # of control calls for the lock; guarded by it
    Datagram batch[64]
    uint8_t behind[64]

cdef class Worker:
    cdef WorkerState state
    cdef bint _open
    cdef EventBatch _batch
    cdef readonly Commands commands
    cdef readonly int index
    cdef object _thread
    cdef object _finalizer
    cdef object __weakref__
    cdef void _release(self)
    cdef void _signal(self) noexcept nogil
    cdef void _take_lock(self) noexcept nogil
