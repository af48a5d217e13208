# SPDX-License-Identifier: Apache-2.0
"""What is due by time: reports, feedback to publishers, NACKs, layers that fell silent, consent that ran out. For Cython only: `timers.pxd` is its interface."""
