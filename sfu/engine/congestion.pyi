# SPDX-License-Identifier: Apache-2.0
"""Congestion control of one receiving transport. For Cython only: `congestion.pxd` is its interface."""
