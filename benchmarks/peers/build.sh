#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `python -m benchmarks compare` needs beside the project: Janus from Debian's package, and Debian's libsrtp built
# anew on OpenSSL (the package is built on NSS, which makes it two to five times slower). Root on Debian; about a minute.
set -eu
cd "$(dirname "$0")/../.."
out=$PWD/build/peers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null || true
apt-get install -qy --no-install-recommends janus gcc make libc6-dev libssl-dev dpkg-dev pkg-config >/dev/null

# Source packages, from where the machine has its packages.
mkdir "$work/sources"
for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    [ -f "$list" ] || continue
    sed 's/^Types: deb$/Types: deb-src/; s/^deb /deb-src /' "$list" >"$work/sources/$(basename "$list")"
done
options="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$work/sources -o Dir::State::lists=$work/lists"
mkdir -p "$work/lists/partial" "$work/source"
# shellcheck disable=SC2086  # a list of options
apt-get $options update -q >/dev/null
# shellcheck disable=SC2086
(cd "$work/source" && apt-get $options source -q --download-only libsrtp2 >/dev/null && tar xf libsrtp2_*.orig.tar.*)
cd "$work"/source/*/
./configure --enable-openssl >/dev/null
make -s shared_library >/dev/null 2>&1
mkdir -p "$out/libsrtp"
cp libsrtp2.so.1 "$out/libsrtp/"
echo "build: $out/libsrtp/libsrtp2.so.1, on $(openssl version)"
