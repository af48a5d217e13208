# SPDX-License-Identifier: Apache-2.0
"""Why a datagram or packet was not forwarded: every drop has a name and a counter.

`drops.pxd` holds the same numbers for the Cython side. Ingress reasons count datagrams or packets that reached no
forwarder at all; egress reasons count one packet towards one receiver.
"""

from enum import IntEnum


class DropReason(IntEnum):
    """One counter each, exported as `pysfu_drops_total{reason=…}` with the lower-case name."""

    UNKNOWN_ADDRESS = 0
    """From a 5-tuple that no ICE check has authenticated."""
    UNKNOWN_TRANSPORT = 1
    """A STUN request whose USERNAME names no living transport of this worker."""
    BAD_AUTH = 2
    """MESSAGE-INTEGRITY or the SRTP tag is wrong."""
    REPLAYED = 3
    """SRTP index seen before, or older than the replay window."""
    MALFORMED = 4
    """Not parseable as what its first bytes say it is."""
    NO_KEYS = 5
    """SRTP before the DTLS handshake has finished."""
    NO_ROUTE = 6
    """RTP whose SSRC, mid and rid lead to no track."""
    TOO_MANY_SSRCS = 7
    """The transport has used up its SSRC allowance."""
    DTLS_RATE = 8
    """More DTLS datagrams than the transport's token bucket allows."""
    EVENTS_FULL = 9
    """The queue of datagrams for Python was full."""
    PROBE_PADDING = 10
    """A retransmission packet without payload: bandwidth probing by the publisher."""
    DUPLICATE = 11
    """The packet is in the history already."""
    TOO_OLD = 12
    """Older than what the history still covers."""
    UNEXPECTED = 13
    """Well-formed, but nothing that this server serves (e.g. a STUN response)."""
    NO_RECEIVER = 14
    """The track has no forwarder."""
    FANOUT_FULL = 15
    """The track's fan-out queue was full: the worker is overloaded."""
    EGRESS_FULL = 16
    """The batch of outgoing datagrams was full: the socket does not take more."""
    NOT_SELECTED_SPATIAL = 17
    NOT_SELECTED_TEMPORAL = 18
    AWAITING_KEYFRAME = 19
    PAUSED = 20
    PADDING = 21
    """Padding-only packet in a media stream, closed up in the receiver's sequence numbers."""
    LATE = 22
    """Arrived after a switch, or for a frame that was dropped: its place is closed."""
    NO_PAYLOAD_TYPE = 23
    """The receiver has not negotiated the packet's codec."""
    NOT_CONNECTED = 24
    """The receiver's transport has no keys or no selected path yet."""
    PROTECT_FAILED = 25
    """SRTP refused to protect the packet (an index is protected once)."""
    TOO_LARGE = 26
    """Does not fit a datagram after rewriting."""
    OVERTAKEN = 27
    """Its stream ended, or its history was used up, before fan-out came to this receiver."""
    ALREADY_SENT = 28
    """This receiver has it: it was asked for before fan-out came to offer it."""
    PACER_FULL = 29
    """More waits for the receiver's link than its pacer holds."""
    HELD = 30
    """First frame of a new source, held until the old one's frame is whole: offered again then."""
    PACER_EXPIRED = 31
    """Waited for the receiver's link for so long that newer pictures are worth more."""
    INBOUND_RATE = 32
    """The peer sends more than one transport may (`publisher_limit_mbps`)."""
