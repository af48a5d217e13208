# SPDX-License-Identifier: Apache-2.0
"""The bytes of an outbound packet. For Cython only: `packet_writer.pxd` is its interface."""
