#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles what is out of date, in place, with $1 jobs; installs the package editable once per version of pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python

mkdir -p build
log=build/build.log
stamp=.venv/building.$$
touch "$stamp"
trap 'rm -f "$stamp"' EXIT
if [ -e .venv/built ]; then
    echo "build: extension modules" >&2
else
    echo "build: extension modules (the first time takes a few minutes)" >&2
fi
if ! $python setup.py -q build_ext --inplace --parallel "$1" >"$log" 2>&1; then
    # The first errors tell; what follows is mostly their consequence.
    grep -E '^[^ ]+:[0-9]+(:[0-9]+)?: ' "$log" | head -n 30 >&2 || true
    tail -n 3 "$log" >&2
    echo "build: failed; all of it stands in $log" >&2
    exit 1
fi
grep -i 'warning: ' "$log" >&2 || true

if ! cmp -s pyproject.toml .venv/installed/pyproject.toml || [ ! -x .venv/bin/sfu ]; then
    $python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
    cp pyproject.toml .venv/installed/pyproject.toml
fi
# The stamp is as old as the start of this build: what was edited meanwhile is built next time.
mv "$stamp" .venv/built
