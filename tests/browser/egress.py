# SPDX-License-Identifier: Apache-2.0
"""What the server sent to a viewer, from its egress log: the cause of a freeze, or that it lies elsewhere."""

from __future__ import annotations

from typing import Any

import aiohttp

from sfu.config import DEV_KEY_ID, DEV_SECRET
from signaling.tokens import mint
from tests.browser.serving import Server

# What a switch of layers has anyway.
EXPECTED_EVENTS = frozenset({"bound", "target", "switched", "keyframe"})
EXPECTED_DROPS = frozenset({"not_selected_spatial", "not_selected_temporal", "awaiting_keyframe", "held", "padding"})


async def egress_events(server: Server, room: str, participant: str) -> dict[str, list[dict[str, Any]]]:
    """By slot, oldest first. `participant` is its id."""
    token = mint((DEV_KEY_ID, DEV_SECRET), {"roomAdmin": True, "room": room})
    url = f"{server.url.rstrip('/')}/admin/v1/rooms/{room}/participants/{participant}/egress"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        slots: dict[str, list[dict[str, Any]]] = (await response.json())["slots"]
        return slots


def unusual(events: list[dict[str, Any]]) -> list[str]:
    """One line for each event that could stand behind a freeze, timed from the first event of the log."""
    lines = []
    for event in events:
        if event["event"] in EXPECTED_EVENTS or event.get("reason") in EXPECTED_DROPS:
            continue
        at_ms = (event["now_us"] - events[0]["now_us"]) / 1000
        words = [
            event["event"],
            event.get("reason", ""),
            f"count {event.get('count', 1)}",
            f"sequence {event['sequence']}",
        ]
        lines.append(f"{at_ms:.0f} ms: " + ", ".join(filter(None, words)))
    return lines
