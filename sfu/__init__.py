# SPDX-License-Identifier: Apache-2.0
"""pysfu: a WebRTC selective forwarding unit."""

__version__ = "0.1.0"
