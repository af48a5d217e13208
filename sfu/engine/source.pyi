# SPDX-License-Identifier: Apache-2.0
"""Source: one inbound SSRC and what is known of it; and asking its publisher for keyframes and missing packets. For Cython only: `source.pxd` is its interface."""
