# SPDX-License-Identifier: Apache-2.0
"""Dependency descriptor, AV1 RTP specification appendix A.8."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from sfu.wire.bits cimport BitReader, bits_begin, bits_fail, put_bits, read_bits, read_non_symmetric
from sfu.wire.buffers cimport copy_exact
from sfu.wire.bytes cimport write_u16
from sfu.wire.dependencies import Dependency, Structure, Template, UnknownTemplateError


cdef enum:
    MANDATORY_SIZE = 3              # bytes; the extended fields follow where there are more
    EXTENDED_FLAGS = 5              # bits
    MASK_FLAG_AT = 25               # bit: active_decode_targets_present_flag
    TEMPLATE_IDS = 64
    EXTENSION_SIZE_MAX = 255        # bytes of one header extension in the two-byte form (RFC 8285 §4.3)

    # next_layer_idc, table A.2
    NEXT_TEMPORAL = 1
    NEXT_SPATIAL = 2
    NO_MORE_TEMPLATES = 3


cdef void _indications(BitReader *r, uint32_t target_count, TargetIndications *out) noexcept nogil:
    cdef uint32_t i, indication
    out.discardable = out.switching = out.required = 0
    for i in range(target_count):
        indication = read_bits(r, 2)
        if indication == DTI_DISCARDABLE:
            out.discardable |= <uint32_t>1 << i
        elif indication == DTI_SWITCH:
            out.switching |= <uint32_t>1 << i
        elif indication == DTI_REQUIRED:
            out.required |= <uint32_t>1 << i


cdef void _template_layers(BitReader *r, DependencyStructure *s) noexcept nogil:
    cdef uint32_t next_layer = 0
    cdef uint8_t spatial = 0
    cdef uint8_t temporal = 0
    s.template_count = 0
    while next_layer != NO_MORE_TEMPLATES and not r.failed:
        if s.template_count == DD_TEMPLATES_MAX or spatial == DD_LAYERS_MAX or temporal == DD_LAYERS_MAX:
            bits_fail(r)
            return
        s.templates[s.template_count].spatial = spatial
        s.templates[s.template_count].temporal = temporal
        s.template_count += 1
        s.layer_count = spatial + 1
        next_layer = read_bits(r, 2)
        if next_layer == NEXT_TEMPORAL:
            temporal += 1
        elif next_layer == NEXT_SPATIAL:
            temporal = 0
            spatial += 1


cdef void _template_fdiffs(BitReader *r, DependencyTemplate *t) noexcept nogil:
    t.fdiff_count = 0
    while read_bits(r, 1):
        if t.fdiff_count == DD_FDIFFS_MAX:
            bits_fail(r)
            return
        t.fdiffs[t.fdiff_count] = <uint8_t>(read_bits(r, 4) + 1)
        t.fdiff_count += 1


cdef void _template_chains(BitReader *r, DependencyStructure *s) noexcept nogil:
    cdef uint32_t i, chain
    s.chain_count = <uint8_t>read_non_symmetric(r, <uint32_t>s.target_count + 1)
    if s.chain_count == 0:
        return
    for i in range(s.target_count):
        s.protected_by[i] = <uint8_t>read_non_symmetric(r, s.chain_count)
    for i in range(s.template_count):
        for chain in range(s.chain_count):
            s.templates[i].chain_fdiffs[chain] = <uint8_t>read_bits(r, 4)


cdef void _target_layers(DependencyStructure *s) noexcept nogil:
    """A decode target's layer is the highest that any template has of it."""
    cdef DependencyTemplate *t
    cdef uint32_t i, target, present
    for i in range(s.template_count):
        t = &s.templates[i]
        present = dd_present(&t.targets)
        for target in range(s.target_count):
            if (present >> target) & 1:
                if t.spatial > s.target_spatial[target]:
                    s.target_spatial[target] = t.spatial
                if t.temporal > s.target_temporal[target]:
                    s.target_temporal[target] = t.temporal


cdef void _structure(BitReader *r, DependencyStructure *s) noexcept nogil:
    cdef uint32_t i
    memset(s, 0, sizeof(DependencyStructure))
    s.template_id_offset = <uint8_t>read_bits(r, 6)
    s.target_count = <uint8_t>(read_bits(r, 5) + 1)
    _template_layers(r, s)
    for i in range(s.template_count):
        _indications(r, s.target_count, &s.templates[i].targets)
    for i in range(s.template_count):
        _template_fdiffs(r, &s.templates[i])
    _template_chains(r, s)
    _target_layers(s)
    if read_bits(r, 1):
        s.has_resolutions = True
        for i in range(s.layer_count):
            s.width[i] = read_bits(r, 16) + 1
            s.height[i] = read_bits(r, 16) + 1


cdef void _frame_fdiffs(BitReader *r, FrameDependency *out) noexcept nogil:
    cdef uint32_t nibbles = read_bits(r, 2)
    out.fdiff_count = 0
    while nibbles:
        if out.fdiff_count == DD_FDIFFS_MAX:
            bits_fail(r)
            return
        out.fdiffs[out.fdiff_count] = <uint16_t>(read_bits(r, 4 * nibbles) + 1)
        out.fdiff_count += 1
        nibbles = read_bits(r, 2)


cdef void _from_template(const DependencyStructure *s, const DependencyTemplate *t, FrameDependency *out) noexcept nogil:
    cdef uint32_t i
    out.spatial = t.spatial
    out.temporal = t.temporal
    out.targets = t.targets
    out.fdiff_count = t.fdiff_count
    for i in range(t.fdiff_count):
        out.fdiffs[i] = t.fdiffs[i]
    out.chain_count = s.chain_count
    memcpy(out.chain_fdiffs, t.chain_fdiffs, s.chain_count)
    if s.has_resolutions:
        out.width = s.width[t.spatial]
        out.height = s.height[t.spatial]


cdef DependencyStatus dd_parse(
    const uint8_t *data, uint32_t size, const DependencyStructure *last, DependencyStructure *attached,
    FrameDependency *out,
) noexcept nogil:
    cdef BitReader r
    cdef const DependencyStructure *s = last
    cdef bint custom_indications = False
    cdef bint custom_fdiffs = False
    cdef bint custom_chains = False
    cdef uint32_t index, i

    memset(out, 0, sizeof(FrameDependency))
    if size < MANDATORY_SIZE:
        return DD_MALFORMED
    bits_begin(&r, data, size)
    out.start_of_frame = read_bits(&r, 1)
    out.end_of_frame = read_bits(&r, 1)
    out.template_id = <uint8_t>read_bits(&r, 6)
    out.frame_number = <uint16_t>read_bits(&r, 16)
    if size > MANDATORY_SIZE:
        out.structure_attached = read_bits(&r, 1)
        out.layout.has_mask = read_bits(&r, 1)
        custom_indications = read_bits(&r, 1)
        custom_fdiffs = read_bits(&r, 1)
        custom_chains = read_bits(&r, 1)
        if out.structure_attached:
            _structure(&r, attached)
            if r.failed:
                return DD_MALFORMED
            s = attached
            out.active_targets = <uint32_t>0xFFFFFFFF >> (DD_TARGETS_MAX - s.target_count)
        out.layout.mask_at = <uint16_t>r.at

    if s == NULL:
        return DD_UNKNOWN_TEMPLATE
    index = (<uint32_t>out.template_id + TEMPLATE_IDS - s.template_id_offset) % TEMPLATE_IDS
    if index >= s.template_count:
        # With its structure at hand it would be wrong; otherwise that structure was lost, or has gone.
        return DD_MALFORMED if out.structure_attached else DD_UNKNOWN_TEMPLATE
    out.layout.target_count = s.target_count
    if out.layout.has_mask:
        out.active_targets = read_bits(&r, s.target_count)
    _from_template(s, &s.templates[index], out)
    if custom_indications:
        _indications(&r, s.target_count, &out.targets)
    if custom_fdiffs:
        _frame_fdiffs(&r, out)
    if custom_chains:
        for i in range(s.chain_count):
            out.chain_fdiffs[i] = <uint8_t>read_bits(&r, 8)
    if r.failed:
        return DD_MALFORMED
    out.layout.end = <uint16_t>r.at
    return DD_OK


cdef uint32_t dd_written_size(uint32_t size, const DescriptorLayout *layout, bint set_mask) noexcept nogil:
    cdef uint32_t bits
    if not set_mask or layout.has_mask:
        return size
    bits = layout.end + layout.target_count + (0 if layout.mask_at else EXTENDED_FLAGS)
    return (bits + 7) >> 3


cdef void _insert_mask(
    uint8_t *out, uint32_t written, const uint8_t *data, uint32_t size, const DescriptorLayout *layout,
    uint32_t active_targets,
) noexcept nogil:
    """The descriptor with a mask between what stands before it and the frame's own dependencies."""
    cdef BitReader r
    cdef uint32_t at = layout.mask_at
    cdef uint32_t n

    if at == 0:
        at = layout.end + EXTENDED_FLAGS
    n = (at + 7) >> 3
    memcpy(out, data, n if n < size else size)
    memset(out + (n if n < size else size), 0, written - (n if n < size else size))
    put_bits(out, MASK_FLAG_AT, 1, 1)
    put_bits(out, at, active_targets, layout.target_count)
    if layout.mask_at:
        bits_begin(&r, data, size)
        r.at = layout.mask_at
        at += layout.target_count
        while r.at < layout.end:
            n = layout.end - r.at if layout.end - r.at < 32 else 32
            put_bits(out, at, read_bits(&r, n), n)
            at += n
    else:
        at += layout.target_count
    put_bits(out, at, 0, 8 * written - at)


cdef uint32_t dd_write(
    uint8_t *out, uint32_t capacity, const uint8_t *data, uint32_t size, const DescriptorLayout *layout,
    uint16_t frame_number, bint set_mask, uint32_t active_targets,
) noexcept nogil:
    cdef uint32_t written = dd_written_size(size, layout, set_mask)
    if written > capacity or layout.end == 0 or layout.end > 8 * size:
        return 0
    if set_mask and not layout.has_mask:
        _insert_mask(out, written, data, size, layout, active_targets)
    else:
        if out != data:
            memcpy(out, data, size)
        if set_mask:
            put_bits(out, layout.mask_at, active_targets, layout.target_count)
    write_u16(out + 1, frame_number)
    return written


cdef uint32_t dd_targets_within(const DependencyStructure *s, uint8_t spatial, uint8_t temporal) noexcept nogil:
    cdef uint32_t mask = 0
    cdef uint32_t i
    for i in range(s.target_count):
        if s.target_spatial[i] <= spatial and s.target_temporal[i] <= temporal:
            mask |= <uint32_t>1 << i
    return mask


cdef tuple _python_indications(const TargetIndications *t, uint32_t target_count):
    return tuple([<int>dd_indication(t, i) for i in range(target_count)])


cdef _python_structure(const DependencyStructure *s):
    cdef const DependencyTemplate *t
    templates = []
    for i in range(s.template_count):
        t = &s.templates[i]
        templates.append(
            Template(
                spatial=t.spatial,
                temporal=t.temporal,
                indications=_python_indications(&t.targets, s.target_count),
                fdiffs=tuple([t.fdiffs[k] for k in range(t.fdiff_count)]),
                chain_fdiffs=tuple([t.chain_fdiffs[k] for k in range(s.chain_count)]),
            )
        )
    targets = range(s.target_count)
    return Structure(
        template_id_offset=s.template_id_offset,
        decode_targets=s.target_count,
        chains=s.chain_count,
        templates=tuple(templates),
        protected_by=tuple([s.protected_by[i] for i in targets]) if s.chain_count else (),
        resolutions=tuple([(s.width[i], s.height[i]) for i in range(s.layer_count)]) if s.has_resolutions else (),
        target_layers=tuple([(s.target_spatial[i], s.target_temporal[i]) for i in targets]),
    )


cdef class DependencyReader:
    """Reads the descriptors of one source in order and keeps the last structure."""

    cdef DependencyStructure _last
    cdef DependencyStructure _attached

    cdef int _parse(self, bytes data, FrameDependency *out) except -1:
        cdef DependencyStatus status
        cdef const DependencyStructure *last = &self._last if self._last.template_count else NULL
        cdef uint8_t *copy = copy_exact(data)
        try:
            status = dd_parse(copy, <uint32_t>len(data), last, &self._attached, out)
        finally:
            free(copy)
        if status == DD_MALFORMED:
            raise ValueError("malformed dependency descriptor")
        if status == DD_UNKNOWN_TEMPLATE:
            raise UnknownTemplateError(f"template {out.template_id} is not of the structure at hand")
        return 0

    @property
    def structure(self):
        """The last structure, or None."""
        return _python_structure(&self._last) if self._last.template_count else None

    def read(self, bytes data not None):
        """The frame's dependencies. ValueError where malformed, `UnknownTemplateError` where the structure is missing."""
        cdef FrameDependency d
        self._parse(data, &d)
        if d.structure_attached:
            self._last = self._attached
        return Dependency(
            start_of_frame=bool(d.start_of_frame),
            end_of_frame=bool(d.end_of_frame),
            template_id=d.template_id,
            frame_number=d.frame_number,
            spatial=d.spatial,
            temporal=d.temporal,
            indications=_python_indications(&d.targets, d.layout.target_count),
            fdiffs=tuple([d.fdiffs[i] for i in range(d.fdiff_count)]),
            chain_fdiffs=tuple([d.chain_fdiffs[i] for i in range(d.chain_count)]),
            has_mask=bool(d.layout.has_mask),
            active_targets=d.active_targets if d.layout.has_mask or d.structure_attached else None,
            structure=_python_structure(&self._attached) if d.structure_attached else None,
            resolution=(d.width, d.height) if d.width else None,
        )

    def rewrite(self, bytes data not None, int frame_number, active_targets=None, uint32_t capacity=EXTENSION_SIZE_MAX):
        """The descriptor with another frame number and, unless None, another mask. Does not change the reader."""
        cdef FrameDependency d
        cdef bint set_mask = active_targets is not None
        cdef uint32_t mask = active_targets or 0
        cdef uint32_t size = <uint32_t>len(data)
        cdef uint32_t written
        cdef uint8_t *copy = NULL
        cdef uint8_t *out = NULL
        self._parse(data, &d)
        try:
            copy = copy_exact(data)
            # Exactly as large as promised, so that AddressSanitizer sees any byte too many.
            out = copy_exact(b"\xff" * dd_written_size(size, &d.layout, set_mask))
            written = dd_write(out, capacity, copy, size, &d.layout, <uint16_t>frame_number, set_mask, mask)
            if written == 0:
                raise ValueError("no room for the mask")
            return bytes(out[:written])
        finally:
            free(copy)
            free(out)

    def targets_within(self, int spatial, int temporal):
        """The mask of the decode targets that have no layer above these."""
        return dd_targets_within(&self._last, <uint8_t>spatial, <uint8_t>temporal)
