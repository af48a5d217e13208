# SPDX-License-Identifier: Apache-2.0
"""The websocket protocol: its messages and one client's session."""
