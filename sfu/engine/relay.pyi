# SPDX-License-Identifier: Apache-2.0
"""Both ends of a relay leg (docs/relay.md). For Cython only: `relay.pxd` is its interface."""
