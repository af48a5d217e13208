# SPDX-License-Identifier: Apache-2.0
"""A track's list of receivers, and binding a forwarder to a track. For Cython only: `tracks.pxd` is its interface."""
