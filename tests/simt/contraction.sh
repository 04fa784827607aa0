#!/usr/bin/env bash
# No fused multiply-add of the kernels is the compiler's choice: nvcc makes the same machine code with and without -fmad, so what is the host's
# bits with one compiler's choices is so with all.
#   tests/simt/contraction.sh FILE.cu...      ARCHITECTURE=90a  NVCC=nvcc  INCLUDE=include
# Exit code 77: there is no nvcc.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
nvcc=${NVCC:-nvcc} architecture=${ARCHITECTURE:-90a}
command -v "$nvcc" >/dev/null || { echo "skipped: nvcc is missing"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# "KERNEL CHECKSUM" for the code of each kernel of a cubin.
kernels() {
  local name offset size
  readelf -S -W "$1" 2>/dev/null | sed -nE 's/.* \.text\.([^ ]+) +PROGBITS +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) .*/\1 \2 \3/p' | while read -r name offset size; do
    echo "$name $(tail -c +$((16#$offset + 1)) "$1" | head -c $((16#$size)) | md5sum | cut -d' ' -f1)"
  done | sort
}
failed=0
for file in "$@"; do
  for fmad in true false; do
    "$nvcc" -std=c++20 -I"${INCLUDE:-$root/include}" -gencode "arch=compute_$architecture,code=sm_$architecture" -fmad="$fmad" -cubin "$file" -o "$work/$fmad.cubin"
    kernels "$work/$fmad.cubin" >"$work/$fmad"
  done
  echo "${file#"$root/"}: $(wc -l <"$work/true") kernels for sm_$architecture"
  [[ -s $work/true ]] || { echo "REFUSED: no kernels in $file"; failed=1; }
  contracted=$(diff "$work/true" "$work/false" | sed -nE 's/^[<>] ([^ ]+) .*/\1/p' | sort -u | c++filt || true)
  [[ -z $contracted ]] || { echo "REFUSED: the compiler contracts in"$'\n'"$contracted"; failed=1; }
done
exit $failed
