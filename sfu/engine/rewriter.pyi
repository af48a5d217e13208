# SPDX-License-Identifier: Apache-2.0
"""Rewriter: makes what one receiver gets look like one uninterrupted stream. For Cython only: `rewriter.pxd` is its interface."""
