#!/usr/bin/env bash
# Kernels compile for real, without warnings, spills, stack frames, or products that the compiler had to serialise; and what they are made of.
#   tests/simt/nvcc.sh FILE.cu... [-- NVCC_OPTIONS]      ARCHITECTURES="80 90a"  NVCC=nvcc  INCLUDE=include
# Prints for every kernel its registers, static shared memory, stack and spills, as ptxas reports them. A line of the source like
#   // opcodes sm_90a wgmma_product_kernel mma_product_kernel: LDGSTS ACQBULK
# demands that there are kernels of each of these names and that the machine code of each of them holds these instructions. From sm_90 on every
# kernel of the library's must wait for the kernel ahead (ACQBULK) and let the next one start (PREEXIT), but for those named below.
# Exit code 77: there is no nvcc.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || { echo "skipped: nvcc is missing"; exit 77; }

# An instruction is 16 bytes; the lowest 12 bits say what it is. (Read off cubins of sm_80 and sm_90a beside what nvdisasm says.)
declare -A codes=([HGMMA]=9f0 [HMMA]=23c [LDGSTS]=fae [LDSM]=83b [UTMALDG]=5b4 [SYNCS]=5a7 [USETMAXREG]=9c8 [WARPGROUP]=9c5 [ACQBULK]=82e [PREEXIT]=82d [FENCE]=3c6 [REDUX]=3c4 [MATCH]=3a1 [F2FP]=23e)
# Not launched programmatically: questions to the device, packing, and what stands behind kernels of CUB or cuBLASLt.
alone='features|pack|unpack|value|floats|group_tables|sorted_maps|activate_rows|add_bias|finish_logits'

# "KERNEL CODE" for each code that each kernel of a cubin holds.
opcodes() {
  local name offset size
  readelf -S -W "$1" 2>/dev/null | sed -nE 's/.* \.text\.([^ ]+) +PROGBITS +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) .*/\1 \2 \3/p' | while read -r name offset size; do
    od -An -v -t x2 -w16 -j $((16#$offset)) -N $((16#$size)) "$1" | awk -v name="$name" '{ seen[substr($1, 2)] = 1 } END { for (code in seen) print name, code }'
  done
}
# Names as they are read: without namespaces, parameters, and the values of configs.
short_names() { c++filt | sed -E ':a; s/\{[^{}]*\}//g; ta; s/coterie::v[0-9]+:://g; s/device::(sm_[0-9]+::)?//g; s/\(anonymous namespace\):://g; s/([> a-z_])\([^()]*\)( |$)/\1\2/g; s/(^| )void /\1/'; }

files=()
while (($#)) && [[ $1 != -- ]]; do files+=("$1"); shift; done
(($#)) && shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
refuse() { echo "REFUSED: $1"; failed=1; }
for architecture in ${ARCHITECTURES:-80 90a}; do
  for file in "${files[@]}"; do
    start=$EPOCHREALTIME name=${file#"$root/"}
    rm -rf "$work"/*
    if ! "$nvcc" -std=c++20 -I"${INCLUDE:-$root/include}" -gencode "arch=compute_$architecture,code=sm_$architecture" -Xptxas -v -Xcompiler -Wall,-Wextra \
        -Werror all-warnings --keep --keep-dir "$work" "$@" -c "$file" -o "$work/object" >"$work/log" 2>&1; then
      cat "$work/log"
      refuse "$name does not compile for sm_$architecture"
      continue
    fi
    echo "$name: $(grep -c 'bytes stack frame' "$work/log" || true) kernels for sm_$architecture, $(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $start }") s"
    # "Function properties for NAME", then its stack and spills, then its registers and memory.
    awk '/Function properties for/ { name = $NF }
         /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
         /: Used [0-9]+ registers/ { shared = 0; for (i = 2; i <= NF; ++i) if ($i ~ /^smem/) shared = $(i - 2); registers = $0; sub(/.*: Used /, "", registers); sub(/ .*/, "", registers)
           printf "%4d registers %6d B static shared %4d B stack %4d B spill stores %4d B spill loads  %s\n", registers, shared, stack, stores, loads, name }' "$work/log" >"$work/kernels"
    short_names <"$work/kernels" | sort -k15 | sed 's/^/  /' | cut -c1-210
    bad=$(short_names <"$work/kernels" | grep -v -e ' 0 B stack    0 B spill stores    0 B spill loads' -e ' cub::' -e ' example::' || true)             # CUB's are not ours to mend; sinf of an example has a stack
    [[ -z $bad ]] || refuse "$name for sm_$architecture: stack or spills in"$'\n'"$bad"
    bad=$(grep ' _ZN7coterie' "$work/kernels" | grep -v "sm_${architecture%a}0" || true)                                               # the library's own: others need not be linked twice
    [[ -z $bad ]] || refuse "$name for sm_$architecture: the architecture is not in the name of"$'\n'"$bad"
    bad=$(grep '(C75' "$work/log" | c++filt || true)
    [[ -z $bad ]] || refuse "$name for sm_$architecture: $bad"

    : >"$work/opcodes"
    for cubin in "$work"/*.cubin; do [[ ! -e $cubin ]] || opcodes "$cubin" >>"$work/opcodes"; done
    if ((${architecture%a} >= 90)); then
      empty=wgmma_product                         # where nothing can launch it
      [[ $architecture != 90a ]] || empty=none
      mapfile -t kernels < <(cut -d' ' -f1 "$work/opcodes" | grep '^_ZN7coterie' | grep -vE "[0-9]($alone|$empty)_kernel" | sort -u)
      for one in "${kernels[@]}"; do
        grep -qFx "$one ${codes[ACQBULK]}" "$work/opcodes" || refuse "$name for sm_$architecture: does not wait for the kernel ahead: $(short_names <<<"$one")"
        grep -qFx "$one ${codes[PREEXIT]}" "$work/opcodes" || refuse "$name for sm_$architecture: does not let the next kernel start: $(short_names <<<"$one")"
      done
      echo "  looked for in each of ${#kernels[@]} kernels of the library's: ACQBULK PREEXIT"
    fi
    while read -r kernel wanted; do
      mapfile -t kernels < <(cut -d' ' -f1 "$work/opcodes" | grep -F "${#kernel}$kernel" | sort -u)             # mangled: the length stands before the name
      ((${#kernels[@]})) || refuse "$name has no $kernel for sm_$architecture"
      for opcode in $wanted; do
        [[ -n ${codes[$opcode]:-} ]] || { refuse "$name: unknown opcode $opcode"; continue; }
        for one in "${kernels[@]}"; do
          grep -qFx "$one ${codes[$opcode]}" "$work/opcodes" || refuse "$name for sm_$architecture: no $opcode in $(short_names <<<"$one")"
        done
      done
      echo "  looked for in each of ${#kernels[@]} $kernel: $wanted"
    done < <(sed -nE "s|^// opcodes sm_$architecture ([A-Za-z_0-9 ]+): (.*)|\1:\2|p" "$file" | while IFS=: read -r names wanted; do printf "%s $wanted\n" $names; done)
  done
done
exit $failed
