# SPDX-License-Identifier: Apache-2.0
"""From a publisher's clocks to the server's: RTP timestamps → server time, in µs. For Cython only: `clock_map.pxd` is its interface."""
