# SPDX-License-Identifier: Apache-2.0
# C functions only: see rtcp.pxd, and rtcp_packets for Python callers.
