# SPDX-License-Identifier: Apache-2.0
"""Events on their way to Python: copied under the lock without the GIL, made into objects with the GIL without the lock. For Cython only: `event_batch.pxd` is its interface."""
