# SPDX-License-Identifier: Apache-2.0
"""The batch of outgoing datagrams: filled by the router, emptied by the socket shell (or a test). For Cython only: `egress.pxd` is its interface."""
