# SPDX-License-Identifier: Apache-2.0
"""RTCP: compound packets (RFC 3550), feedback (RFC 4585, RFC 5104), REMB and transport-wide feedback (drafts).

Readers take one packet as `rtcp_next` delimits it, in place, and return 0, or -1 where it is malformed or of another
type. Writers return the bytes written; 0 = no room.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    RTCP_SR = 200
    RTCP_RR = 201
    RTCP_SDES = 202
    RTCP_BYE = 203
    RTCP_APP = 204
    RTCP_RTPFB = 205
    RTCP_PSFB = 206
    RTCP_XR = 207


cdef enum:                          # `count` of RTCP_RTPFB
    RTPFB_NACK = 1
    RTPFB_TRANSPORT_CC = 15


cdef enum:                          # `count` of RTCP_PSFB
    PSFB_PLI = 1
    PSFB_FIR = 4
    PSFB_APPLICATION = 15           # REMB among others: rtcp_remb tells


cdef struct RtcpHeader:
    uint8_t count                   # report count, or feedback message type
    uint8_t packet_type
    uint32_t size                   # of this packet with header and padding


# 1 = one packet, which starts at *offset - out.size; 0 = end; -1 = malformed. *offset starts at 0.
cdef int rtcp_next(const uint8_t *data, uint32_t size, uint32_t *offset, RtcpHeader *out) noexcept nogil


cdef struct ReportBlock:
    uint32_t ssrc
    uint8_t fraction_lost           # in 1/256
    int32_t cumulative_lost         # 24 bits on the wire; clamped when written
    uint32_t highest_sequence
    uint32_t jitter                 # in timestamp units
    uint32_t last_sr                # middle 32 bits of the NTP timestamp
    uint32_t delay_since_last_sr    # in 1/65536 s


cdef struct SenderReport:
    uint32_t ssrc
    uint64_t ntp
    uint32_t rtp_timestamp
    uint32_t packet_count
    uint32_t octet_count


cdef int rtcp_sender_report(const uint8_t *p, uint32_t size, SenderReport *out) noexcept nogil
# Of an SR or RR. What takes an index returns -1 also past the last entry.
cdef int rtcp_report_block(const uint8_t *p, uint32_t size, uint32_t index, ReportBlock *out) noexcept nogil
cdef int rtcp_bye_ssrc(const uint8_t *p, uint32_t size, uint32_t index, uint32_t *ssrc) noexcept nogil

cdef int rtcp_feedback_ssrcs(const uint8_t *p, uint32_t size, uint32_t *sender, uint32_t *media) noexcept nogil
# Returns how many; at most capacity.
cdef uint32_t rtcp_nack_sequences(const uint8_t *p, uint32_t size, uint16_t *out, uint32_t capacity) noexcept nogil
cdef int rtcp_fir_entry(
    const uint8_t *p, uint32_t size, uint32_t index, uint32_t *ssrc, uint8_t *command,
) noexcept nogil
cdef int rtcp_remb(const uint8_t *p, uint32_t size, uint64_t *bitrate_bps) noexcept nogil


cdef struct TransportCcHeader:
    uint16_t base_sequence
    uint16_t status_count
    int32_t reference_time          # in 64 ms, 24 bits signed
    uint8_t feedback_count


# arrival_us[i] is when base_sequence + i arrived (reference time added), INT64_MIN = not received. Returns the number
# of entries (status_count, at most capacity), or -1.
cdef int rtcp_transport_cc(
    const uint8_t *p, uint32_t size, TransportCcHeader *h, int64_t *arrival_us, uint32_t capacity,
) noexcept nogil

cdef uint32_t rtcp_write_sr(
    uint8_t *out, uint32_t capacity, const SenderReport *report, const ReportBlock *blocks, uint32_t n,
) noexcept nogil
cdef uint32_t rtcp_write_rr(
    uint8_t *out, uint32_t capacity, uint32_t sender, const ReportBlock *blocks, uint32_t n,
) noexcept nogil
cdef uint32_t rtcp_write_sdes_cname(
    uint8_t *out, uint32_t capacity, uint32_t ssrc, const uint8_t *cname, uint32_t n,
) noexcept nogil
cdef uint32_t rtcp_write_bye(uint8_t *out, uint32_t capacity, const uint32_t *ssrcs, uint32_t n) noexcept nogil
cdef uint32_t rtcp_write_pli(uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media) noexcept nogil
cdef uint32_t rtcp_write_fir(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media, uint8_t command,
) noexcept nogil
# `sequences` ascending (modulo 2^16); packed into PID and BLP.
cdef uint32_t rtcp_write_nack(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media, const uint16_t *sequences, uint32_t n,
) noexcept nogil
cdef uint32_t rtcp_write_remb(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint64_t bitrate_bps, const uint32_t *ssrcs, uint32_t n,
) noexcept nogil
# arrival_us[i] ≥ 0 or INT64_MIN = not received; deltas in 250 µs. Stops where a delta or the room does not suffice:
# *consumed entries are in the packet, the caller goes on with the next one. 0 bytes: no room, or nothing was received.
cdef uint32_t rtcp_write_transport_cc(
    uint8_t *out, uint32_t capacity, uint32_t sender, uint32_t media, uint16_t base_sequence,
    const int64_t *arrival_us, uint32_t count, uint8_t feedback_count, uint32_t *consumed,
) noexcept nogil
