# SPDX-License-Identifier: Apache-2.0
"""What an inbound packet's payload says of its frame. For Cython only: `packet_inspector.pxd` is its interface."""
