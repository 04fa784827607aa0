#!/usr/bin/env bash
# The programs of this folder, built by one compiler with one set of flags, warnings as errors, and run.
#      tests/programs/run.sh WORK_FOLDER COMPILER FLAGS...
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ ${1:-} == --one ]]; then                    # SOURCE WORK COMPILER FLAGS...
  source=$2 program=$3/$(basename "$2" .cpp)
  shift 3
  case $1 in
    *nvcc) flags=(-x cu -Werror all-warnings -Xcompiler=-Wall,-Wextra,-pthread) ;;
    *) flags=(-Wall -Wextra -Wpedantic -Werror -pthread) ;;
  esac
  "$1" "${flags[@]}" "${@:2}" -std=c++20 -I"$here/../../include" "$source" -o "$program" >"$program.log" 2>&1 ||
    { echo "$source does not compile with $*"; cut -c 1-300 "$program.log" | head -n 40; exit 1; }
  run=()
  [[ $1 != aarch64-* ]] || run=(qemu-aarch64-static)
  "${run[@]}" "$program" || { echo "$source fails with $*"; exit 1; }
  exit 0
fi
work=$1
shift
command -v "$1" >/dev/null || { echo "skipped: $1 is missing"; exit 77; }
[[ $1 != aarch64-* ]] || command -v qemu-aarch64-static >/dev/null || { echo "skipped: qemu-aarch64-static is missing"; exit 77; }
rm -rf "$work"
mkdir -p "$work"
printf '%s\0' "$here"/*.cpp | xargs -0 -I '{}' -P 2 bash "$here/run.sh" --one '{}' "$work" "$@"
