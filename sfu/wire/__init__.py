# SPDX-License-Identifier: Apache-2.0
"""What is on the wire: RTP, RTCP, STUN and payload descriptors, parsed in place and without I/O."""
