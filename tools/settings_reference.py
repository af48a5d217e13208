# SPDX-License-Identifier: Apache-2.0
"""Writes docs/settings.md from sfu/config.py; with --check it only says whether that page is current."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from sfu.config import ENVIRONMENT_PREFIX, Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """\
<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by tools/settings_reference.py from sfu/config.py: change it there. -->
# Settings

A setting has one name everywhere: `http_port` in the settings file, `SFU_HTTP_PORT` in the environment, `--http-port`
as a flag of `sfu serve`. Flags win over the environment, the environment over the file, and the file over the defaults.
An error names the setting as it was written, its value, and what is allowed; then nothing is started.

The file is TOML, and named by `--config FILE` or `SFU_CONFIG`:

```toml
http_port = 443
tls_cert = "/etc/pysfu/fullchain.pem"
tls_key = "/etc/pysfu/privkey.pem"
announce_ip = ["203.0.113.7", "2001:db8::7"]

[keys]
backend = "..."  # 32 bytes or more, such as `openssl rand -hex 32` prints
```

An empty variable counts as none. Lists are separated by commas in the environment; flags of lists are repeated.
"""

# Of settings whose default is decided by another one, or is a list.
UNSET = "unset"


def main() -> int:
    wanted = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if found == wanted:
        return 0
    sys.stdout.writelines(difflib.unified_diff(found.splitlines(True), wanted.splitlines(True), "docs", "wanted"))
    print(f"\n{PAGE.name} is not current: run python -m tools.settings_reference")
    return 1


def page() -> str:
    sections = [section(name, field) for name, field in Settings.model_fields.items()]
    return HEAD + "\n" + "\n".join(sections)


def section(name: str, field: FieldInfo) -> str:
    extra: Any = field.json_schema_extra
    assert field.description, f"{name} has no docstring"
    # No flag: it would be seen by every user of the machine.
    flag = "" if name == "keys" else f"`--{name.replace('_', '-')}` · "
    return (
        f"## {name}\n\n"
        f"{' '.join(field.description.split())}\n\n"
        f"{flag}`{ENVIRONMENT_PREFIX}{name.upper()}` · default: {default(field)} · allowed: {extra['allowed']}\n"
    )


def default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}):
        return UNSET
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
