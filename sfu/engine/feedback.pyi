# SPDX-License-Identifier: Apache-2.0
"""Inbound SRTCP: reports of publishers, requests of receivers. For Cython only: `feedback.pxd` is its interface."""
