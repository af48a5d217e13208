# SPDX-License-Identifier: Apache-2.0
"""Layer selector: which frames of a track one receiver gets. For Cython only: `selector.pxd` is its interface."""
