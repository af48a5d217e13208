#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Brings .venv up to date: `tools/bootstrap.sh run|test`; with `browsers` it looks for Chromium, Firefox and what
# tests of networks and of the engine's speed need.
# What only Debian's packages can give is installed where we are root; elsewhere one line names the command to give.
# Costs a few milliseconds when nothing has changed. PYTHON=... chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
OLDEST=3.11

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

is_root_on_debian() { [ "$(id -u)" = 0 ] && have apt-get; }

apt_install() {
    say "installing $* (apt-get)"
    log=$(mktemp)
    # One broken source among many fails the update and still lets the install pass.
    apt-get update -q >"$log" 2>&1 || true
    if ! DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "$@" \
        >>"$log" 2>&1 </dev/null; then
        grep '^E:' "$log" >&2 || tail -n 5 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

is_new_enough() {
    have "$1" && "$1" -c "import sys; sys.exit(sys.version_info < (${OLDEST%.*}, ${OLDEST#*.}))" 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# Prints the Debian packages without which $1 (an interpreter) cannot make the venv or compile.
missing_packages() {
    have "${CC:-cc}" || echo gcc libc6-dev
    "$1" - <<'PYTHON'
import importlib.util, pathlib, shutil, sys, sysconfig
name = "python%d.%d" % sys.version_info[:2]
if not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists():
    print(name + "-dev")
if not any(map(importlib.util.find_spec, ("ensurepip", "pip", "virtualenv"))) and not shutil.which("uv"):
    print(name + "-venv")
PYTHON
}

require_packages() {
    missing=$(missing_packages "$1" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086  # a list of package names
    if is_root_on_debian && apt_install $missing; then
        return 0
    fi
    say "not found: ${missing% }. Give: sudo apt-get install ${missing% }"
    exit 1
}

make_venv() {
    if ! python=$(find_python); then
        if ! { is_root_on_debian && apt_install python3 python3-dev python3-venv && python=$(find_python); }; then
            say "no Python $OLDEST or newer. Give: sudo apt-get install python3 python3-dev python3-venv (or PYTHON=/path/to/python make ...)"
            exit 1
        fi
    fi
    require_packages "$python"
    say "creating $VENV with $("$python" --version)"
    rm -rf "$VENV"
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv "$VENV"
    elif "$python" -c 'import virtualenv' 2>/dev/null; then
        "$python" -m virtualenv -q "$VENV"
    elif "$python" -c 'import pip' 2>/dev/null; then
        "$python" -m venv --without-pip "$VENV"
        "$python" -m pip --python "$VENV/bin/python" install -q pip
    else
        uv venv -q --seed --python "$python" "$VENV"
    fi
    mkdir "$VENV/installed"
}

# Installs requirements/$1.txt unless that very file was installed before.
install_lock() {
    lock=requirements/$1.txt
    if ! cmp -s "$lock" "$VENV/installed/$1.txt"; then
        say "installing $lock"
        if ! "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-compile -r "$lock"; then
            say "pip could not install $lock: the first lines above say why. It needs PyPI (or a mirror: PIP_INDEX_URL=...)"
            say "Where it says CERTIFICATE_VERIFY_FAILED, the network has a certificate authority of its own:" \
                "add it to the system's (update-ca-certificates), or give its file: PIP_CERT=FILE make ..."
            exit 1
        fi
        cp "$lock" "$VENV/installed/$1.txt"
    fi
}

get_browsers() {
    missing=
    have chromium || missing=chromium
    have firefox-esr || have firefox || missing="$missing firefox-esr"
    missing=${missing# }
    [ -n "$missing" ] || return 0
    # Ubuntu's packages of these names only lead to snaps, which do not run in a container.
    # shellcheck disable=SC2086
    if is_root_on_debian && ! grep -qs '^ID=ubuntu' /etc/os-release && apt_install $missing; then
        return 0
    fi
    say "tests that need ${missing} are skipped. To run them too: sudo apt-get install ${missing}"
}

# Tests of networks make their own, in namespaces, and break them.
get_network_tools() {
    missing=
    have ip || missing=iproute2
    have nft || missing="$missing nftables"
    missing=${missing# }
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086
    if is_root_on_debian && apt_install $missing; then
        return 0
    fi
    say "tests that need ${missing} are skipped. To run them too, as root: apt-get install ${missing}"
}

# Counts the instructions of the speed gate (tests/speed).
get_valgrind() {
    have valgrind && return 0
    if is_root_on_debian && apt_install valgrind; then
        return 0
    fi
    say "the test of the engine's speed is skipped. To run it too: sudo apt-get install valgrind"
}

case ${1:-} in
browsers)
    get_browsers
    get_network_tools
    get_valgrind
    ;;
run | test)
    # Two runs of make at once take turns.
    if [ -z "${PYSFU_LOCKED:-}" ] && have flock; then
        PYSFU_LOCKED=1 exec flock "$0" sh "$0" "$1"
    fi
    "$VENV/bin/python" -c '' 2>/dev/null && [ -d "$VENV/installed" ] || make_venv
    install_lock build
    install_lock run
    [ "$1" = run ] || install_lock test
    ;;
*)
    echo "usage: $0 run|test|browsers" >&2
    exit 2
    ;;
esac
