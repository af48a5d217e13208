# SPDX-License-Identifier: Apache-2.0
"""The doors: HTTP, the websocket protocol and the web page."""
