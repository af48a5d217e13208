# SPDX-License-Identifier: Apache-2.0
"""The engine's speed without a clock: instructions, allocations, system calls and segments, against figures."""
