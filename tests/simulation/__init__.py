# SPDX-License-Identifier: Apache-2.0
"""Deterministic simulation: a virtual clock, modelled links, synthetic publishers, and the stream checker."""
