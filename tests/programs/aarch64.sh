#!/usr/bin/env bash
# Rooms of the portable kernels, compiled for aarch64 and run by qemu.      tests/programs/aarch64.sh WORK_FOLDER
set -euo pipefail
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for tool in aarch64-linux-gnu-g++ qemu-aarch64-static; do command -v "$tool" >/dev/null || { echo "skipped: $tool is missing"; exit 77; }; done
[[ -e /usr/include/doctest/doctest.h ]] || { echo "skipped: doctest is missing"; exit 77; }
mkdir -p "$1"
ln -sfn /usr/include/doctest "$1/doctest"          # not the rest of the host's headers
for source in main host/multiply host/quantised experts/experts layer/edges; do
  echo "aarch64-linux-gnu-g++ -std=c++20 -O1 -Wall -Wextra -Werror -I'$1' -I'$tests' -I'$tests/../include' -DCOTERIE_TESTS_DIR='\"$tests\"' -c '$tests/$source.cpp' -o '$1/${source/\//_}.o'"
done | xargs -P 2 -d '\n' -I '{}' bash -c '{}'
aarch64-linux-gnu-g++ -static -pthread "$1"/*.o -o "$1/tests"
qemu-aarch64-static "$1/tests"
