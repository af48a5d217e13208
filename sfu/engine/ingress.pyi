# SPDX-License-Identifier: Apache-2.0
"""Inbound SRTP: unprotect, find the source, count, parse once, store, hand to fan-out. For Cython only: `ingress.pxd` is its interface."""
