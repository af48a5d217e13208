# SPDX-License-Identifier: Apache-2.0
"""Other servers to compare with, driven by the same load client."""
