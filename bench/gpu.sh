#!/usr/bin/env bash
# Everything that needs a GPU, on any machine with one and with nvcc; results go to $OUT or build/gpu as they come.
#   bench/gpu.sh [--phase build|test|sanitize|bench|peers]...      (default: all, in this order)
# No phase takes more than 480 s, what it builds included: what matters most comes first, and what the time did not allow is named.
#   build     the programs of the next three phases -> build/gpu/programs; needs no GPU where ARCH says what for (ARCH=90a); again: goes on.
#             The phases build what is missing or was made from other sources, so that programs may come from another machine
#   test      tests/cuda, the instructions and the matrix units by nvcc, on the device; what the instructions gave -> fragments.tar.gz (see
#             tests/simt/tests/fragments.hpp); logs of this and the next phase -> logs.tar.gz
#   sanitize  compute-sanitizer (memcheck, racecheck, synccheck, initcheck) over the same programs
#   bench     layers of published models: device time, host time, percent of the limits measured in the same run; training steps of two of
#             them, and their backward pass by stage -> bench.txt, bench.jsonl
#   peers     the same shapes, routers and tokens through torch, transformers and Triton, where python3 has them -> peers.txt, peers.jsonl;
#             training steps -> peers-training.txt, peers-training.jsonl
# ARCH, NVCC, COTERIE_DOCTEST (folder with doctest/doctest.h), JOBS, TESTS (names, in order; else all), PHASE_SECONDS (480)
# Exit code 1: something failed; 3: nothing failed, but the time did not allow everything
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,16s/^# \{0,1\}//p' bench/gpu.sh >&2; exit 2; }
phases=()
while (($#)); do
  case $1 in
    --phase) [[ ${2:-} =~ ^(build|test|sanitize|bench|peers)$ ]] || usage; phases+=("$2"); shift ;;
    *) usage ;;
  esac
  shift
done
((${#phases[@]})) || phases=(build test sanitize bench peers)
out=${OUT:-build/gpu}
objects=build/gpu/objects programs=build/gpu/programs logs=build/gpu/logs fragments=build/gpu/fragments
jobs=${JOBS:-$(nproc)} phase_seconds=${PHASE_SECONDS:-480}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)} doctest=${COTERIE_DOCTEST:-/usr/include}
mkdir -p "$out" "$objects" "$programs" "$logs" "$fragments"

if command -v nvidia-smi >/dev/null; then nvidia-smi --query-gpu=name,compute_cap,driver_version,clocks.sm,clocks.max.sm,memory.total --format=csv | tee "$out/device.csv" || true; fi
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .) || true
if [[ ! $capability =~ ^[0-9]+$ ]]; then
  [[ ${phases[*]} == build ]] || { echo "bench/gpu.sh: no GPU here (nvidia-smi names none)" >&2; exit 1; }
  [[ -n ${ARCH:-} ]] || { echo "bench/gpu.sh: no GPU here (nvidia-smi names none): say what to build for, as in ARCH=90a" >&2; exit 1; }
fi
arch=${ARCH:-$capability}
[[ $arch == 90 ]] && arch=90a                    # the kernels for Hopper need the a
generate=(-gencode "arch=compute_$arch,code=sm_$arch")
here=()                                          # options that another machine may not need for the same programs
[[ $doctest == /usr/include ]] || here+=(-isystem "$doctest")                # twice, it hides headers from the compiler's own
# Half the size, for programs that travel. Earlier releases run on drivers that cannot unpack it.
[[ $("$nvcc" --version 2>/dev/null) =~ release\ (1[3-9]|[2-9][0-9])\. ]] && here+=(--compress-mode=size)
flags=(-std=c++20 -lineinfo -Iinclude -Itests "${generate[@]}")
{ date -u +%Y-%m-%dT%H:%MZ; git log -1 --format=%H 2>/dev/null || true; "$nvcc" --version 2>/dev/null | tail -1 || true; } >"$out/run.txt"

failed=() cut=()
rm -f "$objects"/*.failed                        # each file is tried once a run
# Seconds that the phase has left, 5 of which go to ending what does not end by itself; and the smaller of them and a limit.
left() { local n=$((deadline - SECONDS - 5)); echo $((n > 0 ? n : 0)); }
at_most() { local n; n=$(left); echo $((n < $1 ? n : $1)); }
bounded() { timeout -k 5 "$@"; }                 # 124 and 137: its time was over
# What a file is made from: the options, device included, every header and its own sources. By contents, for a copy of the tree has other
# dates.
headers=$(find include tests bench \( -name '*.hpp' -o -name '*.cuh' \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
key() { { echo "${flags[*]} $headers $1"; shift; cat "$@"; } | sha256sum; } # OPTIONS FILES...
made() { [[ -e $1 && $(cat "$1.key" 2>/dev/null) == "$2" ]]; }               # FILE KEY
object() { local name; name=$(echo "$1" | tr / _); echo "$objects/${name%.*}.o"; }

# Compiles files side by side in this order, those that changed; names those that fail. An optimisation level is the host's: device code is
# always optimised.
compile() {                                      # FLAGS... -- FILES...
  local extra=() old=() source seconds
  while [[ $1 != -- ]]; do extra+=("$1"); shift; done
  shift
  for source in "$@"; do
    made "$(object "$source")" "$(key "${extra[*]}" "$source")" && continue
    [[ ! -e $(object "$source").failed ]] || continue
    rm -f "$(object "$source")"{,.key}
    old+=("$source")
  done
  ((${#old[@]})) || return 0
  command -v "$nvcc" >/dev/null || { echo "build: nvcc is missing"; for source in "${old[@]}"; do touch "$(object "$source").failed"; done; return 0; }
  seconds=$(build_time)
  echo "build: ${#old[@]} files for $arch, at most $seconds s"
  ((seconds)) || return 0
  # shellcheck disable=SC2016                    # the inner shell's own variables
  for source in "${old[@]}"; do printf '%s\0' "$source" "$(object "$source")" "$(key "${extra[*]}" "$source")"; done |
    bounded "$seconds" xargs -0 -n 3 -P "$jobs" bash -c '
      source=${*: -3:1} object=${*: -2:1} key=${*: -1}                       # xargs puts them last
      "${@:1:$#-3}" -c "$source" -o "$object" >"$object.log" 2>&1 || { echo "does not compile: $source"; tail -n 30 "$object.log"; rm -f "$object"; touch "$object.failed"; exit 0; }
      echo "$key" >"$object.key"' \
      bash "$nvcc" "${here[@]}" "${flags[@]}" "${extra[@]}" || echo "build: stopped after $seconds s or by an error"
}
# A file that is not there: because of an error in it, or for want of time.
missing() { if [[ -e $(object "$1").failed ]]; then failed+=("build of $1"); else cut+=("build of $1"); fi; }
# What a phase may spend on building: all of it, or, where programs are to run, half.
build_time() { if [[ $phase == build ]]; then left; else at_most $((phase_seconds / 2)); fi; }
# PROGRAM KEY SOURCES...: from the objects of the sources. Without what only a debugger reads: programs travel.
link() {
  local program=$programs/$1 key=$2 links=() libraries=() source
  [[ $1 =~ ^(library|bench_cuda)$ ]] && libraries=(-lcublasLt)
  shift 2
  for source in "$@"; do links+=("$(object "$source")"); done
  rm -f "$program" "$program.key"
  "$nvcc" "${generate[@]}" "${links[@]}" -o "$program" -Xlinker -s "${libraries[@]}" >"$objects/link.log" 2>&1 || { echo "does not link: $program"; tail -n 5 "$objects/link.log"; rm -f "$program"; return 1; }
  echo "$key" >"$program.key"
}

# The tests by what they say of the rest, most first; then those not named here.
ordered_tests() {
  local name source
  local order=()
  if [[ -n ${TESTS:-} ]]; then read -ra order <<<"$TESTS"
  else
    order=(instructions matrix_units product product_backward experts decode dispatch router combine layer graph router_learned pack library router_thread)
    for source in tests/cuda/*.cpp; do
      name=$(basename "$source" .cpp)
      [[ " ${order[*]} " == *" $name "* ]] || order+=("$name")
    done
  fi
  for name in "${order[@]}"; do
    source=tests/cuda/$name.cpp
    [[ ! -e tests/simt/tests/$name.cpp ]] || source=tests/simt/tests/$name.cpp
    [[ -e $source ]] || { echo "bench/gpu.sh: TESTS: there is no test $name" >&2; exit 2; }
    tests+=("$source")
  done
}
build_tests() {
  [[ -n ${tests[*]:-} ]] || ordered_tests
  local shared=(tests/simt/main.cpp tests/random/numbers.cpp tests/cuda/layer/host.cpp tests/cuda/random/check.cpp tests/cuda/training/host.cpp tests/cuda/training/host_configs.cpp)
  local options=(-x cu -O1 '-DCOTERIE_TESTS_DIR="tests"') old=() source name
  for source in "${tests[@]}"; do
    name=$(basename "$source" .cpp)
    made "$programs/$name" "$(key "${options[*]}" "$source" "${shared[@]}")" && continue
    rm -f "$programs/$name"{,.key}
    old+=("$source")
  done
  ((${#old[@]})) || return 0
  [[ -e $doctest/doctest/doctest.h ]] || { echo "build: doctest is missing (COTERIE_DOCTEST=folder)"; failed+=("build of the tests"); return 0; }
  compile "${options[@]}" -- "${shared[@]}" "${old[@]}"
  for source in "${shared[@]}"; do [[ -e $(object "$source").key ]] || { missing "$source"; return 0; }; done
  for source in "${old[@]}"; do
    if [[ ! -e $(object "$source").key ]]; then missing "$source"
    else link "$(basename "$source" .cpp)" "$(key "${options[*]}" "$source" "${shared[@]}")" "$source" "${shared[@]}" || failed+=("build of $source"); fi
  done
}
build_bench() {
  local good=() source key
  benches=(bench/cuda/main.cu bench/cuda/qwen3_30b_a3b.cu bench/cuda/mixtral_8x7b.cu)
  for source in bench/cuda/*.cu; do [[ " ${benches[*]} " == *" $source "* ]] || benches+=("$source"); done
  key=$(key -O2 "${benches[@]}")
  made "$programs/bench_cuda" "$key" && return 0
  rm -f "$programs/bench_cuda"{,.key}
  compile -O2 -- "${benches[@]}"
  for source in "${benches[@]}"; do
    if [[ -e $(object "$source").key ]]; then good+=("$source"); else missing "$source"; fi
  done
  ((${#good[@]} == ${#benches[@]})) || key="without some presets"          # the next run tries again
  [[ ${good[0]:-} == bench/cuda/main.cu ]] || return 0
  link bench_cuda "$key" "${good[@]}" || failed+=("build of bench_cuda")
}
phase_build() {
  build_tests
  build_bench
  du -sh "$programs"
}
phase_test() {
  build_tests
  local source name code seconds
  for source in "${tests[@]}"; do
    name=$(basename "$source" .cpp) code=0 seconds=$(at_most 120)
    [[ -x $programs/$name ]] || continue
    ((seconds >= 5)) || { cut+=("test $name"); continue; }
    COTERIE_FRAGMENTS=$fragments bounded "$seconds" "$programs/$name" >"$logs/test-$name.txt" 2>&1 || code=$?
    if ((code == 0)); then echo "passed: $name ($(grep -o 'assertions: *[0-9]*' "$logs/test-$name.txt" || true))"
    elif (((code == 124 || code == 137) && seconds < 120)); then cut+=("test $name after $seconds s")
    else echo "FAILED: $name"; tail -n 25 "$logs/test-$name.txt"; failed+=("test $name"); fi
  done
  tar -C build/gpu -czf "$out/fragments.tar.gz" fragments
  tar -C build/gpu -czf "$out/logs.tar.gz" logs
}
# Whether the sanitizer's log names an error: where its time ran out there is no exit code that says so. "0 hazards" of a summary is none.
found() { grep '^=========' "$1" | grep -v 'SUMMARY: 0 ' | grep -E 'Invalid|Race reported|hazard|Barrier error|Uninitialized|ERROR SUMMARY: [1-9]' >/dev/null; }
phase_sanitize() {
  local sanitizer tool name log code seconds
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
  [[ -n $sanitizer ]] || { echo "sanitize: skipped, compute-sanitizer is missing"; return 0; }
  build_tests
  for tool in memcheck racecheck synccheck initcheck; do
    for name in dispatch router product combine experts pack graph layer product_backward backward training; do
      [[ -x $programs/$name && ( $tool == memcheck || ! $name =~ ^(experts|pack|graph|layer|training)$ ) ]] || continue
      log=$logs/sanitize-$tool-$name.txt code=0 seconds=$(at_most 20)
      ((seconds >= 5)) || { cut+=("$tool $name"); continue; }
      bounded "$seconds" "$sanitizer" --tool "$tool" --error-exitcode 9 "$programs/$name" >"$log" 2>&1 || code=$?
      if grep -q 'Device not supported' "$log"; then echo "$tool: $name skipped, the tool does not support the device"
      elif found "$log" || ((code != 0 && code != 124 && code != 137)); then
        echo "$tool: $name FAILED ($code)"
        if found "$log"; then grep -m 15 '^=========' "$log"; else tail -n 15 "$log"; fi
        failed+=("$tool $name")
      elif ((code)); then echo "$tool: $name clean as far as it came in $seconds s"
      else echo "$tool: $name clean"; fi
    done
  done
  tar -C build/gpu -czf "$out/logs.tar.gz" logs
}
# A program that prints as it goes: the end of its time is no failure.
until_cut() {                                    # NAME SECONDS COMMAND...
  local name=$1 code=0 seconds
  seconds=$(at_most "$2")
  shift 2
  ((seconds >= 5)) || { cut+=("$name"); return 0; }
  bounded "$seconds" "$@" 2>&1 | tee "$out/$name.txt" || code=$?
  if ((code == 124 || code == 137)); then cut+=("$name after $seconds s"); elif ((code)); then failed+=("$name"); fi
}
phase_bench() {
  build_bench
  [[ ! -x $programs/bench_cuda ]] || until_cut bench "$phase_seconds" "$programs/bench_cuda" --json "$out/bench.jsonl"
}
phase_peers() {
  bounded "$(at_most 60)" python3 -c 'import torch; torch.cuda.init()' 2>/dev/null || { echo "peers: skipped, python3 has no torch with CUDA"; return 0; }
  until_cut peers $((phase_seconds * 2 / 3)) env PYTHONDONTWRITEBYTECODE=1 python3 bench/cuda/peers.py --json "$out/peers.jsonl"
  until_cut peers-training "$phase_seconds" env PYTHONDONTWRITEBYTECODE=1 python3 bench/cuda/peers.py --training --preset qwen3 --preset mixtral --json "$out/peers-training.jsonl"
}

for phase in "${phases[@]}"; do
  start=$SECONDS deadline=$((SECONDS + phase_seconds))
  echo "== $phase"
  "phase_$phase"
  echo "== $phase: $((SECONDS - start)) s"
done
code=0
declare -A named=()
for what in "${cut[@]}"; do                      # once each; what a later phase has built after all is no more missing
  [[ -z ${named[$what]:-} ]] || continue
  named[$what]=1
  [[ $what == "build of "* && -e $(object "${what#build of }").key ]] || { echo "bench/gpu.sh: no time for: $what" >&2; code=3; }
done
if ((${#failed[@]})); then
  printf 'bench/gpu.sh: failed: %s\n' "${failed[@]}" | sort -u >&2
  code=1
fi
exit $code
