# SPDX-License-Identifier: Apache-2.0
"""Figures as a PNG: lines where they have an x, else bars; a panel for each unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure

PANEL_INCHES: Final = (7.0, 3.4)
DOTS_PER_INCH: Final = 90


def write_plot(path: Path, title: str, figures: Sequence[Figure], machine: Mapping[str, str]) -> None:
    """Needs matplotlib (requirements/test.txt)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels: dict[tuple[str, str, bool], list[Figure]] = defaultdict(list)
    for figure in figures:
        panels[figure.unit, figure.axis, figure.x is not None].append(figure)
    drawing, axes = pyplot.subplots(
        len(panels), 1, figsize=(PANEL_INCHES[0], PANEL_INCHES[1] * len(panels)), squeeze=False
    )
    for ((unit, axis, is_line), inside), place in zip(panels.items(), axes[:, 0], strict=True):
        if is_line:
            lines: dict[str, list[Figure]] = defaultdict(list)
            for figure in inside:
                lines[figure.series].append(figure)
            for series, points in lines.items():
                points.sort(key=lambda figure: figure.x or 0)
                place.plot([point.x for point in points], [point.value for point in points], marker="o", label=series)
            place.set_xlabel(axis)
            if len({figure.x for figure in inside}) > 2:
                place.set_xscale("log")
                ticks = sorted({figure.x or 0 for figure in inside})
                place.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                place.minorticks_off()
            place.legend(fontsize="small")
        else:
            names = [figure.what for figure in inside]
            place.barh(names, [figure.value for figure in inside])
            place.invert_yaxis()
        place.set_ylim(bottom=0) if is_line else place.set_xlim(left=0)
        (place.set_ylabel if is_line else place.set_xlabel)(unit)
        place.grid(alpha=0.3)
    axes[0, 0].set_title(f"{title}\n{machine['processor']}, kernel {machine['kernel']}", fontsize="medium")
    drawing.tight_layout()
    drawing.savefig(path, dpi=DOTS_PER_INCH)
    pyplot.close(drawing)
