#!/usr/bin/env bash
# Kernels compile for real, without warnings, spills, stack frames, or products that the compiler had to serialise.
#   tests/simt/nvcc.sh FILE.cu... [-- NVCC_OPTIONS]      ARCHITECTURES="80 90a"  NVCC=nvcc  INCLUDE=include
# Exit code 77: there is no nvcc.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || { echo "skipped: nvcc is missing"; exit 77; }

files=()
while (($#)) && [[ $1 != -- ]]; do files+=("$1"); shift; done
(($#)) && shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for architecture in ${ARCHITECTURES:-80 90a}; do
  for file in "${files[@]}"; do
    if ! "$nvcc" -std=c++20 -I"${INCLUDE:-$root/include}" -gencode "arch=compute_$architecture,code=sm_$architecture" -Xptxas -v -Xcompiler -Wall,-Wextra \
        -Werror all-warnings "$@" -c "$file" -o "$work/object" >"$work/log" 2>&1; then
      echo "$file does not compile for sm_$architecture:"
      cat "$work/log"
      failed=1
      continue
    fi
    # "Function properties for NAME", and in the next line its stack and spills.
    bad=$(awk '/Function properties for/ { name = $NF } /bytes stack frame/ && !/ 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads/ { print name ": " $0 }
               /\(C75/ { print }' "$work/log" | c++filt)
    if [[ -n $bad ]]; then
      echo "$file for sm_$architecture:"
      echo "$bad"
      failed=1
    fi
    echo "$file: $(grep -c 'bytes stack frame' "$work/log" || true) kernels for sm_$architecture"
  done
done
exit $failed
