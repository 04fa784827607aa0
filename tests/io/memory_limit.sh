#!/usr/bin/env bash
# The test of a layer larger than memory, where the page cache counts as well: in a scope of 200 MB.  tests/io/memory_limit.sh PROGRAM
set -euo pipefail
scope=(systemd-run --quiet --scope -p MemoryMax=200M -p MemorySwapMax=0)
((EUID == 0)) || scope+=(--user)
"${scope[@]}" true >/dev/null 2>&1 || { echo "skipped: systemd-run cannot limit the memory of a scope here"; exit 77; }
exec "${scope[@]}" "$1" --test-case='packed file: a layer larger*'
