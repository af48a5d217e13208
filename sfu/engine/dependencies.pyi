# SPDX-License-Identifier: Apache-2.0
"""What a source knows of its dependency descriptors. For Cython only: `dependencies.pxd` is its interface."""
