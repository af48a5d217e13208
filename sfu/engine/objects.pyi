# SPDX-License-Identifier: Apache-2.0
"""Life of the engine's objects: linking new ones into the tables, taking them out again, whole subtrees at once. For Cython only: `objects.pxd` is its interface."""
