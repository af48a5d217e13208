# SPDX-License-Identifier: Apache-2.0
"""A thread for media goes before the rest of its process: while Python computes on the same core, packets do not wait."""

# For the calling thread. What the system does not permit is left as it is.
cdef void prefer_this_thread() noexcept nogil
