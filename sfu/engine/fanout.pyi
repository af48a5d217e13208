# SPDX-License-Identifier: Apache-2.0
"""Fan-out: the resumable queue from stored packets to receivers, audio first. For Cython only: `fanout.pxd` is its interface."""
