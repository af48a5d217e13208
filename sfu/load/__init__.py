# SPDX-License-Identifier: Apache-2.0
"""Light bots: participants without codecs, many in one process. They speak only the public protocol."""
