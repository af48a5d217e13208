# SPDX-License-Identifier: Apache-2.0
"""Frame boundaries, keyframes and layers of inbound packets; see `packet_inspector.pxd`."""
from libc.stdint cimport int64_t, uint8_t, uint16_t
from sfu.engine.codecs cimport CODEC_AV1, CODEC_H264, CODEC_VP8, CODEC_VP9
from sfu.engine.dependencies cimport dependencies_open, dependencies_read
from sfu.engine.history cimport (
    CLOSES_PICTURE_ID, DEPENDENCY_UNKNOWN, FRAME_END, FRAME_KEY, FRAME_LAYER_SYNC, FRAME_START, FRAME_SWITCH_UP, HAS_AUDIO_LEVEL,
    HAS_ORIENTATION, PACKET_PADDING, Packet, frame_name,
    history_data, history_get, no_frame_name,
)
from sfu.engine.tables cimport MAX_LAYERS, PayloadType, Source
from sfu.wire.av1 cimport Av1Payload, av1_parse
from sfu.wire.dependency_descriptor cimport (
    DD_OK, DD_UNKNOWN_TEMPLATE, DependencyStatus, DependencyStructure, FrameDependency,
)
from sfu.wire.extensions cimport EXT_AUDIO_LEVEL, EXT_DEPENDENCY_DESCRIPTOR, EXT_VIDEO_ORIENTATION, Extensions
from sfu.wire.h264 cimport H264Payload, h264_parse
from sfu.wire.rtp cimport RtpHeader
from sfu.wire.vp8 cimport Vp8Descriptor, vp8_parse
from sfu.wire.vp9 cimport Vp9Descriptor, vp9_parse

cdef enum:
    PICTURE_ID_MASK = 0x7FFF   # 15 bits, RFC 7741 §4.2, RFC 9628 §4.2
    LEVEL_SHIFT = 3            # loudness is smoothed over about eight packets (160 ms)
    SILENT = 127
    MAX_DESCRIPTOR = 255       # bytes of a dependency descriptor


cdef void inspect_packet(Source *source, Packet *packet, const PayloadType *payload, const uint8_t *data,
                         const RtpHeader *header, const Extensions *x, int64_t now_us) noexcept nogil:
    """Fill in the description of a packet that was just stored. `data` is the packet that `x` points into."""
    packet.arrival_us = now_us
    packet.timestamp = header.timestamp
    packet.payload_offset = <uint16_t>header.header_size
    packet.payload_size = <uint16_t>header.payload_size
    packet.payload_type = header.payload_type
    packet.codec = payload.codec
    packet.marker = header.marker
    packet.frame = frame_name(header.timestamp, 0)
    if x.data[<int>EXT_AUDIO_LEVEL] != NULL and x.size[<int>EXT_AUDIO_LEVEL] >= 1:
        packet.flags |= HAS_AUDIO_LEVEL
        packet.audio_level = x.data[<int>EXT_AUDIO_LEVEL][0]
    if x.data[<int>EXT_VIDEO_ORIENTATION] != NULL and x.size[<int>EXT_VIDEO_ORIENTATION] >= 1:
        packet.flags |= HAS_ORIENTATION
        packet.orientation = x.data[<int>EXT_VIDEO_ORIENTATION][0]
    if header.payload_size == 0:
        packet.flags |= PACKET_PADDING
        if source.dependencies != NULL:
            packet.frame = no_frame_name(header.timestamp)
    elif not source.track.video:
        packet.flags |= FRAME_START | FRAME_KEY
        note_level(source, packet)
    else:
        inspect_video(source, packet, data, x)


cdef void note_level(Source *source, const Packet *packet) noexcept nogil:
    cdef int64_t level = SILENT - (packet.audio_level & 0x7F) if packet.flags & HAS_AUDIO_LEVEL else 0
    source.track.level_q8 += ((level << 8) - source.track.level_q8) >> LEVEL_SHIFT


cdef void inspect_video(Source *source, Packet *packet, const uint8_t *data, const Extensions *x) noexcept nogil:
    cdef const uint8_t *payload = data + packet.payload_offset
    if packet.codec == CODEC_VP8:
        inspect_vp8(source, packet, payload)
        if packet.has_picture_id:
            return       # its own descriptor tells all that there is to tell
    elif packet.codec == CODEC_VP9:
        inspect_vp9(source, packet, payload)
    elif packet.codec == CODEC_H264:
        inspect_h264(source, packet, payload)
    elif packet.codec == CODEC_AV1:
        inspect_av1(source, packet, payload)
    if x.data[<int>EXT_DEPENDENCY_DESCRIPTOR] != NULL:
        inspect_dependency(source, packet, data, x)


cdef void inspect_vp8(Source *source, Packet *packet, const uint8_t *payload) noexcept nogil:
    cdef Vp8Descriptor vp8
    if vp8_parse(payload, packet.payload_size, &vp8):
        return
    packet.temporal = vp8.temporal if vp8.has_temporal else 0
    packet.has_picture_id = vp8.has_picture_id
    packet.picture_id = vp8.picture_id if vp8.long_picture_id else long_picture_id(source, vp8.picture_id)
    source.picture_id = packet.picture_id
    packet.has_tl0 = vp8.has_tl0
    packet.tl0_picture_index = vp8.tl0_picture_index
    if vp8.has_picture_id:
        packet.flags |= CLOSES_PICTURE_ID
    if vp8.start_of_frame:
        packet.flags |= FRAME_START
    if vp8.layer_sync:
        packet.flags |= FRAME_LAYER_SYNC
    if vp8.keyframe:
        note_keyframe(source, packet, vp8.width, vp8.height)


cdef uint16_t long_picture_id(const Source *source, uint16_t short_id) noexcept nogil:
    """The 15-bit picture id next to the source's last one that ends in these 7 bits."""
    cdef uint16_t step = (short_id - source.picture_id) & 0x7F
    return (source.picture_id + (step if step < 64 else step - 128)) & PICTURE_ID_MASK


cdef void inspect_vp9(Source *source, Packet *packet, const uint8_t *payload) noexcept nogil:
    cdef Vp9Descriptor vp9
    cdef int i, top
    if vp9_parse(payload, packet.payload_size, &vp9):
        return
    packet.temporal = vp9.temporal
    packet.spatial = vp9.spatial
    packet.frame = frame_name(packet.timestamp, vp9.spatial)
    packet.has_picture_id = vp9.has_picture_id
    packet.picture_id = vp9.picture_id if vp9.long_picture_id else long_picture_id(source, vp9.picture_id)
    source.picture_id = packet.picture_id
    packet.has_tl0 = vp9.has_tl0
    packet.tl0_picture_index = vp9.tl0_picture_index
    if vp9.start_of_frame:
        packet.flags |= FRAME_START
    if vp9.end_of_frame:
        packet.flags |= FRAME_END
    if vp9.switching_up:
        packet.flags |= FRAME_SWITCH_UP
    if vp9.keyframe:
        top = vp9.structure.spatial_layers - 1 if vp9.has_structure else 0
        for i in range(min(vp9.structure.spatial_layers, <int>MAX_LAYERS)):
            source.spatial_width[i] = vp9.structure.width[i]
            source.spatial_height[i] = vp9.structure.height[i]
        note_keyframe(source, packet, vp9.structure.width[top], vp9.structure.height[top])


cdef bint begins_frame(const Source *source, const Packet *packet) noexcept nogil:
    """Where the payload does not say: the packet before it is there, and of another timestamp."""
    cdef const Packet *before = history_get(&source.history, packet.sequence - 1)
    return before != NULL and before.timestamp != packet.timestamp


cdef void inspect_h264(Source *source, Packet *packet, const uint8_t *payload) noexcept nogil:
    cdef H264Payload h264
    if h264_parse(payload, packet.payload_size, &h264):
        return
    if begins_frame(source, packet):
        packet.flags |= FRAME_START
    # SPS or IDR: a decoder can begin here. Only its first packet counts as the keyframe's start.
    if h264.has_sps or (h264.has_idr and packet.flags & FRAME_START):
        packet.flags |= FRAME_START
        note_keyframe(source, packet, h264.width, h264.height)


cdef void inspect_av1(Source *source, Packet *packet, const uint8_t *payload) noexcept nogil:
    cdef Av1Payload av1
    if begins_frame(source, packet):
        packet.flags |= FRAME_START
    if av1_parse(payload, packet.payload_size, &av1):
        return           # encrypted end to end: the dependency descriptor will tell
    packet.temporal = av1.temporal
    if av1.new_sequence:
        packet.flags |= FRAME_START
        note_keyframe(source, packet, <uint16_t>av1.width, <uint16_t>av1.height)


cdef void inspect_dependency(Source *source, Packet *packet, const uint8_t *data, const Extensions *x) noexcept nogil:
    """The dependency descriptor overrules what the payload says, which may be encrypted."""
    cdef const uint8_t *descriptor = x.data[<int>EXT_DEPENDENCY_DESCRIPTOR]
    cdef uint8_t size = x.size[<int>EXT_DEPENDENCY_DESCRIPTOR]
    if source.dependencies == NULL:
        source.dependencies = dependencies_open()
        if source.dependencies == NULL:
            return
    packet.dependency_at = <uint16_t>(descriptor - data)
    packet.dependency_size = size
    read_dependency(source, packet, descriptor)


cdef bint explain_packet(Source *source, Packet *packet) noexcept nogil:
    """Try again to read a descriptor whose structure came after it. Whether that has changed anything."""
    if not packet.flags & DEPENDENCY_UNKNOWN:
        return False
    packet.flags &= ~<uint16_t>DEPENDENCY_UNKNOWN
    read_dependency(source, packet, history_data(&source.history, packet) + packet.dependency_at)
    return packet.has_dependency != 0


cdef void read_dependency(Source *source, Packet *packet, const uint8_t *descriptor) noexcept nogil:
    cdef FrameDependency frame
    cdef DependencyStatus status = dependencies_read(source.dependencies, descriptor, packet.dependency_size,
                                                     packet.timestamp, &frame)
    if status == DD_UNKNOWN_TEMPLATE:
        packet.flags |= DEPENDENCY_UNKNOWN
    if status != DD_OK:
        return
    packet.has_dependency = True
    packet.frame_number = frame.frame_number
    packet.dependency_layout = frame.layout
    packet.spatial = frame.spatial
    packet.temporal = frame.temporal
    packet.frame = frame_name(packet.timestamp, frame.frame_number)
    packet.flags &= ~<uint16_t>(FRAME_START | FRAME_KEY | FRAME_END)
    if frame.start_of_frame:
        packet.flags |= FRAME_START
    if frame.end_of_frame:
        packet.flags |= FRAME_END
    if frame.structure_attached and frame.start_of_frame:
        note_resolutions(source, packet, &source.dependencies.structure)


cdef void note_resolutions(Source *source, Packet *packet, const DependencyStructure *structure) noexcept nogil:
    """A keyframe; its structure may tell the size of each spatial layer."""
    cdef int top = structure.layer_count - 1
    cdef int i
    if not structure.has_resolutions:
        note_keyframe(source, packet, 0, 0)
        return
    for i in range(min(structure.layer_count, <int>MAX_LAYERS)):
        source.spatial_width[i] = <uint16_t>structure.width[i]
        source.spatial_height[i] = <uint16_t>structure.height[i]
    note_keyframe(source, packet, <uint16_t>structure.width[top], <uint16_t>structure.height[top])


cdef void note_keyframe(Source *source, Packet *packet, uint16_t width, uint16_t height) noexcept nogil:
    packet.flags |= FRAME_KEY
    source.keyframe_wanted = False
    source.keyframe_answered = True
    source.keyframes += 1
    if width and height:
        source.width = width
        source.height = height
