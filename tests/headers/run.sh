#!/usr/bin/env bash
# Every header compiles alone, and twice in one file.      tests/headers/run.sh [--public] COMPILER [FLAGS]
# --public: those right under coterie/ and coterie/io/ only.
set -euo pipefail
include=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../include" && pwd)
if [[ ${1:-} == --one ]]; then
  header=$2
  shift 2
  printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
    "$@" -std=c++20 -I"$include" -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror -fsyntax-only -x c++ - >/dev/stderr ||
    { echo "$header does not compile alone with $*"; exit 1; }
  exit 0
fi

depth=99
if [[ ${1:-} == --public ]]; then depth=1; shift; fi
command -v "$1" >/dev/null || { echo "skipped: $1 is missing"; exit 77; }
mapfile -t headers < <(cd "$include" && find coterie coterie/io -maxdepth "$depth" -name '*.hpp' | sort -u)
if ! echo '#include <nlohmann/json.hpp>' | "$1" -E -x c++ - >/dev/null 2>&1; then
  echo "skipped: coterie/io (nlohmann/json.hpp is missing)"
  mapfile -t headers < <(printf '%s\n' "${headers[@]}" | grep -v '^coterie/io/')
fi
printf '%s\n' "${headers[@]}" | xargs -I '{}' -P 2 bash "${BASH_SOURCE[0]}" --one '{}' "$@"
echo "${#headers[@]} headers compile alone with $*"
