# SPDX-License-Identifier: Apache-2.0
"""What a source knows of its dependency descriptors: the structure at hand and the frames it has described lately."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from sfu.wire.dependency_descriptor cimport DependencyStatus, DependencyStructure, FrameDependency

cdef enum:
    DEPENDENCY_FRAMES = 64    # a power of two

cdef struct DescribedFrame:
    bint used
    uint64_t name             # history.frame_name of it
    FrameDependency frame     # its active_targets are those in effect, whether it tells them or not

cdef struct Dependencies:
    bint has_structure
    uint16_t structure_frame  # number of the frame that brought it
    DependencyStructure structure
    uint32_t active_targets
    uint16_t active_frame     # number of the frame that told them
    DescribedFrame frames[64]

cdef Dependencies *dependencies_open() noexcept nogil
cdef DependencyStatus dependencies_read(Dependencies *d, const uint8_t *data, uint32_t size, uint32_t timestamp,
                                        FrameDependency *frame) noexcept nogil
cdef bint dependencies_superseded(const Dependencies *d, const FrameDependency *frame) noexcept nogil
cdef const FrameDependency *dependencies_frame(const Dependencies *d, uint64_t name) noexcept nogil
