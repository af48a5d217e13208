# SPDX-License-Identifier: Apache-2.0
"""Forwarder: one outbound stream. For Cython only: `forwarder.pxd` is its interface."""
