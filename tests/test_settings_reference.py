# SPDX-License-Identifier: Apache-2.0
"""docs/settings.md says what sfu/config.py says."""

from __future__ import annotations

import re

from sfu.config import Settings
from tools import settings_reference


def test_the_page_is_current() -> None:
    assert settings_reference.PAGE.read_text("utf-8") == settings_reference.page(), (
        "run python -m tools.settings_reference"
    )


def test_every_setting_has_its_section() -> None:
    assert re.findall(r"^## (\w+)$", settings_reference.page(), re.MULTILINE) == list(Settings.model_fields)
