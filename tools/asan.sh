#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds a second, sanitized copy of the packages in build/asan and runs the kernel tests on it: asan.sh JOBS [PATH...]
set -eu
cd "$(dirname "$0")/.."
jobs=$1
shift
[ $# -gt 0 ] || set -- $(ls -d tests/wire tests/engine 2>/dev/null)

export PYSFU_BUILD=asan
lib=build/asan/lib
mkdir -p build/asan
if ! .venv/bin/python setup.py -q build --build-base build/asan/temp --build-lib "$lib" --parallel "$jobs" \
    >build/asan/build.log 2>&1; then
    cat build/asan/build.log >&2
    exit 1
fi

compiler=${CC:-cc}
runtime=$($compiler -print-file-name=libasan.so)
[ -e "$runtime" ] || { echo "asan: $compiler has no libasan.so; with Debian's gcc it comes along" >&2; exit 1; }

# Python's own allocator hides overruns; CPython's leaks at exit are not ours; a report goes to stderr, past pytest. Timeouts
# allow for the slow-down.
LD_PRELOAD="$runtime $($compiler -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:allocator_may_return_null=1 \
    UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONMALLOC=malloc \
    exec .venv/bin/python -P -m pytest -p no:cacheprovider -o "pythonpath=$lib" --capture=sys --timeout 600 "$@"
