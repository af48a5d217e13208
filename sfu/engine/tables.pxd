# SPDX-License-Identifier: Apache-2.0
"""The engine's objects and how they hang together: transport → tracks → layers → sources; track → forwarders → transport.

All belong to one Router and are touched by its thread only, or by a control call that holds the worker's lock. Python
names them by handles: index in the low 20 bits, generation above, so that a stale handle is recognised.
"""
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from sfu.engine.address cimport EgressPacket, Path
from sfu.engine.bwe.estimator cimport Estimator
from sfu.engine.bwe.probes cimport ProbePlan
from sfu.engine.clock_map cimport PublisherClock, TimestampMap
from sfu.engine.dependencies cimport Dependencies
from sfu.engine.egress_log cimport EgressLog
from sfu.engine.history cimport History, Packet
from sfu.engine.nack cimport NackGenerator
from sfu.engine.reception cimport RateMeter, Reception
from sfu.engine.rewriter cimport Rewriter
from sfu.engine.schedule cimport Schedule, Timer
from sfu.engine.selector cimport Selection
from sfu.engine.srtp cimport Srtp
from sfu.engine.transport_cc cimport ArrivalLog
from sfu.wire.extensions cimport ExtensionMap

cdef enum:
    HANDLE_INDEX_BITS = 20
    HANDLE_INDEX_MASK = 0xFFFFF
    MAX_PATHS = 8             # 5-tuples of one peer
    MAX_SSRCS = 64            # inbound SSRCs of one transport
    MAX_LAYERS = 4            # simulcast layers of one track, or spatial layers of one stream
    MAX_ID = 16               # bytes of a mid or rid (RFC 8285 one-byte form)
    PENDING_PACKETS = 512     # packets of one track that wait for fan-out; a power of two
    SENT_LOG = 1024           # packets; a power of two. Two seconds at 4 Mbit/s
    DTLS_RING = 256           # DTLS datagrams that wait for Python
    EGRESS_FANOUT = 512       # datagrams of one slice that fan-out may fill,
    EGRESS_SENDS = 64         # and for how many receivers: each is a send of its own, of some 5 µs and more
    EGRESS_CAPACITY = 768     # with room for STUN, RTCP, retransmissions
    EGRESS_BUFFER = 1600      # bytes: 1500 and SRTP's growth
    PACER_PACKETS = 256       # datagrams of one receiver that may wait for its link; a power of two
    PACER_DATAGRAM = 1560     # bytes

cdef enum TransportEvent:
    EVENT_PATH = 1
    EVENT_EXPIRED = 2
    EVENT_ESTIMATE = 4

cdef enum TrackEvent:
    EVENT_LAYERS = 1

cdef enum ForwarderEvent:
    EVENT_STARTED = 1
    EVENT_LAYER = 2

cdef enum PayloadFlags:
    PAYLOAD_KNOWN = 1
    PAYLOAD_RTX = 2
    PAYLOAD_NACK = 4
    PAYLOAD_PLI = 8

cdef struct PeerPath:
    Path path
    int64_t seen_us           # of the last authenticated STUN request

cdef struct SsrcEntry:
    uint32_t ssrc
    bint rtx
    Source *source

cdef struct PacedPacket:
    uint16_t size
    int32_t transport_sequence # NO_SEQUENCE = it carries none
    bint media                # counted as forwarded when it was queued
    int64_t queued_us
    uint8_t data[1560]

cdef struct Congestion:
    Estimator *estimator
    bint numbered             # the receiver takes transport-wide numbers: only then its link is known, and paced
    PacedPacket *queue        # NULL until something had to wait
    uint32_t head
    uint32_t count
    uint32_t waiting_bytes    # as IP carries them
    int64_t queue_began_us    # when something had to wait and nothing did before
    int64_t queued_sum_us     # of all that waits: gives the mean wait
    int64_t sent_us           # of the last packet
    double debt_bytes         # sent ahead of the pacing rate
    int64_t debt_us           # when debt_bytes was brought up to date
    double resend_credit_bytes # retransmissions that may be sent at once
    int64_t resend_credit_us  # when the credit was brought up to date
    uint16_t transport_sequence # of the packet being written
    bint sequenced
    ProbePlan probe
    bint probing
    int64_t probe_started_us
    uint32_t probe_packets
    uint32_t probe_bytes
    int64_t told_bps          # last estimate that Python was told
    int told_state
    int64_t told_us
    uint64_t paced            # packets that had to wait
    uint64_t probe_padding    # padding packets sent

cdef struct Transport:
    uint32_t handle
    uint8_t ufrag[24]
    uint8_t ufrag_size
    uint8_t password[64]
    uint8_t password_size
    PeerPath paths[8]
    uint8_t path_count
    int8_t selected           # index into paths, -1 = none yet
    bint nominated
    bint expired
    int64_t consent_us        # of the last authenticated STUN request on any path
    Srtp *receive_srtp
    Srtp *send_srtp
    ExtensionMap receive_extensions
    SsrcEntry ssrcs[64]
    uint32_t ssrc_count
    PublisherClock clock
    ArrivalLog *arrivals      # NULL until transport-cc is negotiated and seen
    uint32_t feedback_media_ssrc
    Track *tracks             # list by next_of_transport
    Forwarder *forwarders     # list by next_of_transport
    uint32_t local_ssrc       # sender of our RTCP
    Timer timer               # when the tick has something to do here
    int64_t check_due_us      # when its sources and forwarders are looked at again; its pacer and estimator come between
    bint quiet                # nothing flows: its timer waits for consent to end, or for what wakes it
    int64_t heard_us          # last RTP or RTCP
    int64_t report_due_us
    int64_t feedback_due_us
    int64_t rtt_us            # -1 = not measured
    int64_t dtls_credit_us    # token bucket, in time rather than tokens: no rounding
    int64_t dtls_credited_us
    int64_t inbound_paid_ns   # moment that what came so far is paid for at the limit
    uint32_t events           # TransportEvent bits that wait
    uint64_t packets_received
    uint64_t bytes_received
    uint64_t packets_sent
    uint64_t bytes_sent
    uint64_t remb_bps
    uint64_t publish_limit_bps # what the peer is told by REMB; 0 = nothing
    Congestion *congestion    # NULL until the transport receives media
    uint32_t relay_leg        # number of the relay leg that it is an end of; 0 = a peer's transport
    int64_t relay_rtt_us      # to the other end, as Python knows it
    Transport *next_relay     # in the same bucket of the legs

cdef struct PayloadType:
    uint8_t codec
    uint8_t flags
    uint8_t associated        # RTX: the payload type it repairs
    uint32_t clock_rate

cdef struct Source:
    uint32_t generation       # unique within the router: a new one for each new or restarted stream
    uint32_t ssrc
    uint32_t rtx_ssrc         # 0 = none seen
    Track *track
    int layer
    Reception reception
    RateMeter rate
    TimestampMap timestamps
    History history
    uint32_t waiting          # stored packets that fan-out has not come to yet
    int64_t waiting_sequence  # the first of them; what is stored behind it must not overwrite it
    uint64_t waiting_position
    NackGenerator *nack       # NULL where no NACK was negotiated
    Dependencies *dependencies # NULL until a dependency descriptor came
    int64_t last_packet_us
    uint32_t last_timestamp   # of the newest packet, to tell frames apart
    bint has_timestamp
    bint keyframe_wanted
    int64_t keyframe_asked_us
    bint keyframe_answered    # one has come since
    uint32_t keyframes
    uint8_t payload_type      # of the newest packet
    uint8_t fir_command
    uint16_t picture_id       # VP8, of the newest packet, always in 15 bits
    uint16_t width
    uint16_t height
    bint spatial_active[4]    # spatial layers of one stream that send
    int64_t spatial_seen_us[4]
    RateMeter spatial_rate[4]
    uint16_t spatial_width[4] # of the last keyframe, 0 = not told
    uint16_t spatial_height[4]
    bint has_epoch            # of a relay leg: what its layer's present epoch is
    uint8_t relay_epoch

cdef struct Layer:
    uint8_t rid[16]
    uint8_t rid_size
    uint32_t declared_ssrc
    uint32_t declared_rtx_ssrc
    bint active
    Source *source            # NULL until the first packet
    uint32_t replaced_ssrc    # what the present source took the place of; 0 = nothing
    uint32_t replaced_rtx_ssrc
    int64_t replaced_us

cdef struct Pending:
    uint32_t generation
    uint8_t layer
    uint8_t ahead             # bytes of padding that make it as long as its run (equaliser.pxd)
    int64_t sequence

cdef struct Track:
    uint32_t handle
    Transport *transport      # the publisher's
    Track *next_of_transport
    bint video
    uint8_t mid[16]
    uint8_t mid_size
    PayloadType payload[128]
    Layer layers[4]
    uint32_t layer_count
    Forwarder **forwarders    # NULL entries are removed ones, closed up when no fan-out runs
    uint32_t forwarder_count
    uint32_t forwarder_capacity
    uint32_t live_forwarders
    Pending pending[512]
    uint32_t pending_head     # next to fan out
    uint32_t pending_job      # end of the running job
    uint32_t pending_tail
    uint32_t job_receiver     # next forwarder of the running job
    bint queued               # in one of the router's run queues, or held
    uint8_t lane              # which of them
    bint held                 # waits for the rest of a frame
    bint frame_open           # the last packet that waits does not end its frame
    int64_t held_until_us
    Track *next_in_queue
    uint32_t events
    int64_t level_q8          # smoothed loudness, 0 (silent) to 127·256

cdef struct TrackQueue:       # by Track.next_in_queue
    Track *head
    Track *tail

cdef struct SentPacket:
    int64_t sequence          # outbound, extended; -1 = empty
    int64_t source_sequence
    uint32_t track            # handle
    uint32_t source_generation
    uint32_t timestamp        # as sent
    uint32_t csrc
    int64_t resent_us         # 0 = never
    uint16_t picture_id
    uint8_t tl0
    uint8_t layer
    uint8_t payload_type
    uint8_t rtx_payload_type  # 255 = none
    uint8_t marker
    uint8_t padding           # padding-only packet that filled a hole
    uint16_t frame_number     # of the dependency descriptor
    uint8_t strip_red         # only the primary block of the payload was sent
    bint set_targets          # the descriptor carried this set of active decode targets
    uint32_t active_targets

cdef struct PayloadMapping:
    uint8_t incoming
    uint8_t outgoing
    uint8_t outgoing_rtx      # 255 = none
    bint strip_red            # RED that goes out as what its primary block is

cdef struct Binding:
    Track *track              # NULL = none
    uint32_t csrc             # names the publication in band
    uint32_t generation       # counts the binds of a forwarder, from Python
    PayloadMapping payloads[16]
    uint32_t payload_count

cdef struct Forwarder:
    uint32_t handle
    Transport *transport      # the receiver's
    Forwarder *next_of_transport
    bint video
    Binding binding           # what is wanted
    Binding previous          # what still flows until the wanted track can start
    int64_t previous_until_us
    Selection selection       # current layers are those of what flows
    Rewriter rewriter
    uint32_t source_generation # of the current source
    uint32_t ssrc
    uint32_t rtx_ssrc         # 0 = no retransmission
    uint16_t rtx_sequence
    uint8_t mid[16]
    uint8_t mid_size
    uint8_t extension_ids[16] # by ExtensionKind; 0 = not negotiated
    uint32_t clock_rate       # of what flows
    SentPacket *sent          # NULL for audio, and before the first bind
    EgressLog *log            # NULL unless it is wanted
    uint32_t held_generation  # source whose first frame waits until the old one's frame is whole; 0 = none
    int64_t held_sequence     # its first packet
    int64_t held_us
    bint hold_spent
    bint awaiting_start       # bound, nothing sent since
    uint32_t started_timestamp
    uint32_t events
    int64_t report_due_us
    uint8_t quick_reports     # sender reports soon after a bind
    int64_t timeline_us       # server time that timeline_timestamp stands for
    uint32_t timeline_timestamp
    bint has_timeline
    uint64_t packets_sent
    uint64_t bytes_sent       # payload only, for the sender report
    uint64_t resent
    uint64_t nack_unanswered
    uint64_t keyframe_requests
    uint64_t switches
    uint8_t fraction_lost
    uint32_t remote_jitter
    RateMeter rate
    uint8_t relay_layer       # on a relay leg: the layer that it carries,
    uint8_t relay_epoch       # and how often that began anew

cdef struct RelayPath:
    Path path
    uint32_t legs             # that use it

cdef struct Relays:
    Transport **buckets       # legs by number; NULL before the first one
    RelayPath *paths
    uint32_t path_count
    uint64_t packets_received # by all legs, those that are gone included
    uint64_t bytes_received
    uint64_t packets_sent
    uint64_t bytes_sent

cdef struct Table:
    void **items
    uint32_t capacity

cdef struct AddressSlot:
    uint64_t hash             # 0 = empty
    uint32_t transport        # handle
    Path path

cdef struct AddressMap:
    AddressSlot *slots
    uint32_t mask
    uint32_t used
    uint64_t secret[2]

cdef struct HandleQueue:
    uint32_t *items
    uint32_t count
    uint32_t capacity

cdef struct PendingDtls:
    uint32_t transport
    uint16_t size
    uint8_t data[1500]

cdef struct Outgoing:         # a datagram that Python wants sent (DTLS)
    Outgoing *next
    Path path                 # resolved when the command was applied: the transport may be gone by then
    uint16_t size
    uint8_t data[1500]

cdef struct Egress:
    EgressPacket packets[768]
    uint8_t *buffers          # EGRESS_CAPACITY × EGRESS_BUFFER; packets lie one after the other
    size_t used               # bytes
    uint32_t count
    uint32_t done             # of these, already taken by the socket
    uint32_t sends            # runs to one transport, each of which can leave at once; without GSO packets
    uint8_t latency           # LatencyClass of what is committed now
    int64_t received_us

cdef struct RouterState:
    Table transports
    Table tracks
    Table forwarders
    AddressMap addresses
    Relays relays
    uint32_t next_generation
    uint8_t ufrag_prefix[8]   # worker and epoch, in hexadecimal digits
    uint8_t ufrag_prefix_size
    uint64_t random_state
    int64_t wall_offset_us    # unix time = now_us + this
    int64_t now_us            # of the cycle that runs
    uint32_t kernel_wait_us   # of the datagram that is being received
    TrackQueue queues[3]      # tracks with fan-out to do, by lane (fanout.pyx)
    bint sound_last           # which lane had the last turn
    bint few_last
    Track *held_head          # video tracks that wait for the rest of a frame
    int64_t coalesce_us       # how long they do at most; 0 = not at all
    bint busy                 # the load is high: they wait that long, however few receivers there are
    int64_t inbound_limit_bps # of one transport; 0 = none
    bint equalise             # whether equal sizes save anything: UDP GSO
    uint8_t run_ahead         # of the packet that is being forwarded
    uint32_t run_size         # of the run that is being sent; 0 = none
    uint64_t padded_packets
    uint64_t padding_bytes
    Egress egress
    Outgoing *outgoing_head
    Outgoing *outgoing_tail
    uint32_t outgoing_count
    HandleQueue transport_events
    HandleQueue track_events
    HandleQueue forwarder_events
    PendingDtls *dtls         # ring
    uint32_t dtls_head
    uint32_t dtls_count
    bint signal_python        # something was queued since the last drain
    uint64_t drops[33]        # by DropReason
    uint64_t received_packets
    uint64_t received_bytes
    uint64_t sent_packets
    uint64_t sent_bytes
    uint64_t media_received   # media packets offered to fan-out
    uint64_t media_offered    # (packet, receiver) pairs offered
    uint64_t media_forwarded  # (packet, receiver) pairs sent
    uint64_t stun_received
    uint64_t dtls_received
    uint64_t dtls_sent
    uint64_t rtcp_received
    uint64_t rtcp_sent
    uint64_t nacks_sent
    uint64_t switches               # of layer, of all forwarders
    uint64_t nacks_received
    uint64_t resent
    uint64_t keyframes_asked
    Schedule schedule         # the transports' timers

cdef Transport *transport_of(RouterState *s, uint32_t handle) noexcept nogil
cdef Track *track_of(RouterState *s, uint32_t handle) noexcept nogil
cdef Forwarder *forwarder_of(RouterState *s, uint32_t handle) noexcept nogil
cdef int table_put(Table *t, uint32_t handle, void *item) noexcept nogil
cdef void table_clear(Table *t, uint32_t handle) noexcept nogil
cdef int address_map_open(AddressMap *m, uint64_t secret0, uint64_t secret1) noexcept nogil
cdef uint32_t address_map_find(const AddressMap *m, const Path *path) noexcept nogil
cdef int address_map_put(AddressMap *m, const Path *path, uint32_t transport) noexcept nogil
cdef void address_map_remove(AddressMap *m, const Path *path, uint32_t transport) noexcept nogil
cdef void note_transport(RouterState *s, Transport *t, uint32_t event) noexcept nogil
cdef void note_track(RouterState *s, Track *t, uint32_t event) noexcept nogil
cdef void note_forwarder(RouterState *s, Forwarder *f, uint32_t event) noexcept nogil
cdef void wake_transport(RouterState *s, Transport *t, int64_t at_us) noexcept nogil
cdef void wake_pacer(RouterState *s, Transport *t, int64_t at_us) noexcept nogil
cdef uint32_t random_u32(RouterState *s) noexcept nogil
