# SPDX-License-Identifier: Apache-2.0
"""The Helm chart speaks of this version, and of settings that there are."""

from __future__ import annotations

import re
from pathlib import Path

import sfu
from sfu.config import Settings

CHART = Path(__file__).resolve().parent.parent.parent / "deploy" / "helm" / "pysfu"


def test_the_chart_is_of_this_version() -> None:
    text = (CHART / "Chart.yaml").read_text()
    assert re.findall(r"^(?:version|appVersion): \"?([^\"\n]+)", text, re.MULTILINE) == [sfu.__version__] * 2


def test_the_chart_sets_what_can_be_set() -> None:
    texts = [path.read_text() for path in (CHART / "templates" / "deployment.yaml", CHART / "values.yaml")]
    names = {name.removeprefix("SFU_").lower() for text in texts for name in re.findall(r"\bSFU_[A-Z_]+", text)}
    assert len(names) > 5
    assert names <= set(Settings.model_fields)
