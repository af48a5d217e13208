# SPDX-License-Identifier: Apache-2.0
"""The committed figures: reads and compares them. `python -m tests.speed.figures` measures and writes them anew."""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from sfu.engine import router
from tests.speed import callgrind

FIGURES: Final = Path(__file__).with_name("figures.json")
TOLERANCE: Final = 0.03

Figures = dict[str, float]


def compiler() -> str:
    """What compiled the router, as it says itself; a build with symbols is not optimised."""
    module = Path(router.__file__).read_bytes()
    found = re.search(rb"GCC: \([^)]*\) (\d+\.\d+\.\d+)|(clang version \d+\.\d+\.\d+)", module)
    name = "an unknown compiler"
    if found:
        name = f"gcc {found[1].decode()}" if found[1] else found[2].decode()
    return f"{name} {platform.machine()}{', debug build' if b'.debug_info' in module else ''}"


def processor() -> str:
    """What decides which kernels of OpenSSL and libc run."""
    models = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{models[1] if models else platform.machine()}, {' '.join(platform.libc_ver())}"


def instructions(folder: Path) -> Figures:
    """Of the router, for each datagram it sends."""
    counted = callgrind.run(folder)
    sent = counted.workload["sent"]
    return {
        "engine instructions a datagram": counted.engine() / sent,
        "library instructions a datagram": counted.libraries() / sent,
        "allocator instructions": counted.allocator,
        "datagrams a frame": sent / counted.workload["frames"],
    }


def sends(folder: Path) -> Figures:
    """Of the socket, for each frame that the publisher sends."""
    counted = callgrind.play(folder, "socket")
    each = {name: count / counted["frames"] for name, count in counted["socket"].items()}
    return {
        "system calls a frame": each["send_calls"],
        "messages a frame": each["sent_messages"],
        "datagrams a message": each["sent"] / each["sent_messages"],
    }


def differences(measured: Figures, wanted: Figures) -> list[str]:
    """What is not within the tolerance, in words."""
    return [
        f"{name}: {measured[name]:.5g}, committed {value:.5g} ({measured[name] / value - 1:+.1%})"
        if value
        else f"{name}: {measured[name]:.5g}, committed 0"
        for name, value in wanted.items()
        if abs(measured[name] - value) > TOLERANCE * value
    ]


def main() -> int:
    reason = callgrind.missing()
    if reason:
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "compiler": compiler(),
            "processor": processor(),
            "sends": sends(Path(folder)),
            "instructions": instructions(Path(folder)),
        }
    FIGURES.write_text(json.dumps(found, indent=2) + "\n")
    print(FIGURES.read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
