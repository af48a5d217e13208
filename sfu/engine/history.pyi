# SPDX-License-Identifier: Apache-2.0
"""History of one source: its last packets in plaintext, shared by all receivers. For Cython only: `history.pxd` is its interface."""
