# SPDX-License-Identifier: Apache-2.0
"""Rooms, participants, publications and subscriptions: plain objects with typed events.

`model`, `room`, `slots`, `layers` and `speakers` are pure; `media` and `conductor` carry their decisions out through
the engine.
"""
