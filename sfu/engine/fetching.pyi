# SPDX-License-Identifier: Apache-2.0
"""Asks for the memory of who comes next. For Cython only: `fetching.pxd` is its interface."""
