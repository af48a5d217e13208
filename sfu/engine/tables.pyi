# SPDX-License-Identifier: Apache-2.0
"""The engine's objects and how they hang together: transport → tracks → layers → sources; track → forwarders → transport. For Cython only: `tables.pxd` is its interface."""
