#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes requirements/*.txt: exact, hashed versions for every platform and Python that pyproject.toml allows. Versions
# that still fit stay as they are, unless UPGRADE=1.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null 2>&1 || { echo "lock: uv not found. Give: pip install uv" >&2; exit 1; }

lock() {
    uv pip compile -q ${UPGRADE:+--upgrade} --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
        --custom-compile-command 'make lock' "$1" -o "$2"
}
lock requirements/build.in requirements/build.txt
lock pyproject.toml requirements/run.txt
lock requirements/test.in requirements/test.txt
