# SPDX-License-Identifier: Apache-2.0
"""`python -m tools.dashboard` writes docker/grafana/dashboards/pysfu.json: panels stand here as a table."""

import json
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).resolve().parent.parent / "docker" / "grafana" / "dashboards" / "pysfu.json"
WIDTH, HEIGHT = 8, 7
PER_ROW = 24 // WIDTH
DATASOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
RANGE: Final = "$__rate_interval"

# Title, unit (Grafana's names), and of each line its legend and query.
PANELS: Final[list[tuple[str, str, dict[str, str]]]] = [
    (
        "Rooms and participants",
        "short",
        {
            "participants": "sum(pysfu_participants)",
            "rooms": "sum(pysfu_rooms)",
            "publications": "sum(pysfu_publications)",
        },
    ),
    (
        "Joins and leaves",
        "ops",
        {
            "joins": f"sum(rate(pysfu_joins_total[{RANGE}]))",
            "{{reason}}": f"sum by (reason) (rate(pysfu_leaves_total[{RANGE}]))",
            "media failed": f"sum(rate(pysfu_media_failures_total[{RANGE}]))",
        },
    ),
    (
        "From join to media",
        "s",
        {
            f"p{percent}": f"histogram_quantile(0.{percent}, sum by (le) (rate(pysfu_connect_seconds_bucket[{RANGE}])))"
            for percent in (50, 95)
        },
    ),
    (
        "Added latency",
        "s",
        {
            f"{{{{kind}}}} p{percent}": (
                f"histogram_quantile(0.{percent}, "
                f"sum by (le, kind) (rate(pysfu_forwarding_latency_seconds_bucket[{RANGE}])))"
            )
            for percent in (50, 99)
        },
    ),
    ("Datagrams", "pps", {"{{direction}}": f"sum by (direction) (rate(pysfu_packets_total[{RANGE}]))"}),
    ("Bit rate", "bps", {"{{direction}}": f"8 * sum by (direction) (rate(pysfu_bytes_total[{RANGE}]))"}),
    (
        "Workers: share of their time",
        "percentunit",
        {"{{instance}} {{worker}}": f"rate(pysfu_worker_busy_seconds_total[{RANGE}])"},
    ),
    (
        "Stress (1 = limit) and shedding level",
        "short",
        {"stress {{instance}} {{worker}}": "pysfu_stress", "level {{instance}} {{worker}}": "pysfu_shedding_level"},
    ),
    ("Event loop lag", "s", {"{{instance}}": "pysfu_event_loop_lag_seconds"}),
    (
        "Links of receivers: estimate by quantile",
        "bps",
        {"{{quantile}}": "max by (quantile) (pysfu_estimate_bps)"},
    ),
    ("Links of receivers: congestion", "short", {"{{congestion}}": "sum by (congestion) (pysfu_receivers)"}),
    (
        "Repair",
        "ops",
        {
            "nacks {{direction}}": f"sum by (direction) (rate(pysfu_nacks_total[{RANGE}]))",
            "sent again": f"sum(rate(pysfu_retransmissions_total[{RANGE}]))",
            "keyframes asked": f"sum(rate(pysfu_keyframe_requests_total[{RANGE}]))",
            "layer switches": f"sum(rate(pysfu_layer_switches_total[{RANGE}]))",
        },
    ),
    ("Drops by reason", "pps", {"{{reason}}": f"topk(12, sum by (reason) (rate(pysfu_drops_total[{RANGE}])))"}),
    ("Socket", "ops", {"{{event}}": f"topk(8, sum by (event) (rate(pysfu_socket_events_total[{RANGE}])))"}),
    (
        "What the engine holds",
        "short",
        {"{{kind}}": "sum by (kind) (pysfu_engine_objects)"},
    ),
    (
        "Media packets",
        "pps",
        {"{{stage}}": f"sum by (stage) (rate(pysfu_media_packets_total[{RANGE}]))"},
    ),
    (
        "Processor",
        "percentunit",
        {"{{instance}}": f'rate(process_cpu_seconds_total{{job="pysfu"}}[{RANGE}])'},
    ),
    (
        "Memory and files",
        "bytes",
        {
            "{{instance}} memory": 'process_resident_memory_bytes{job="pysfu"}',
            "{{instance}} open files": 'process_open_fds{job="pysfu"}',
        },
    ),
]


def panel(index: int, title: str, unit: str, lines: dict[str, str]) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": title,
        "datasource": DATASOURCE,
        "gridPos": {"x": index % PER_ROW * WIDTH, "y": index // PER_ROW * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for number, (legend, query) in enumerate(lines.items())
        ],
    }


def dashboard() -> dict[str, Any]:
    return {
        "uid": "pysfu",
        "title": "pysfu",
        "tags": ["pysfu"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "panels": [panel(index, *row) for index, row in enumerate(PANELS)],
    }


def main() -> None:
    FILE.write_text(json.dumps(dashboard(), indent=1) + "\n")


if __name__ == "__main__":
    main()
