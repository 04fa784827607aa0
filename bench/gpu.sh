#!/usr/bin/env bash
# Everything that needs a GPU, on any machine with one and with nvcc; results go to $OUT or build/gpu as they come.
#   bench/gpu.sh [--phase test|sanitize|bench|peers]...      (default: all, in this order; each is bounded in time)
#   test      tests/cuda and the instructions by nvcc, on the device; what the instructions gave -> fragments.tar.gz (see
#             tests/simt/tests/fragments.hpp); logs of this and the next phase -> logs.tar.gz
#   sanitize  compute-sanitizer (memcheck, racecheck, synccheck, initcheck) over the same programs
#   bench     layers of published models: device time, host time, percent of the limits measured in the same run -> bench.txt, bench.jsonl
#   peers     the same shapes through torch, transformers and Triton, where python3 has them -> peers.txt, peers.jsonl
# NVCC, COTERIE_DOCTEST (folder with doctest/doctest.h), JOBS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,10s/^# \{0,1\}//p' bench/gpu.sh >&2; exit 2; }
phases=()
while (($#)); do
  case $1 in
    --phase) [[ ${2:-} =~ ^(test|sanitize|bench|peers)$ ]] || usage; phases+=("$2"); shift ;;
    *) usage ;;
  esac
  shift
done
((${#phases[@]})) || phases=(test sanitize bench peers)
out=${OUT:-build/gpu}
objects=build/gpu/objects logs=build/gpu/logs fragments=build/gpu/fragments
jobs=${JOBS:-$(nproc)}
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
mkdir -p "$out" "$objects" "$logs" "$fragments"

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,compute_cap,driver_version,clocks.sm,clocks.max.sm,memory.total --format=csv | tee "$out/device.csv" || true
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .) || true
[[ $capability =~ ^[0-9]+$ ]] || { echo "bench/gpu.sh: no GPU here (nvidia-smi names none)" >&2; exit 1; }
[[ -x $nvcc ]] || { echo "bench/gpu.sh: nvcc is missing" >&2; exit 1; }
arch=$capability
[[ $capability == 90 ]] && arch=90a              # the kernels for Hopper need the a
flags=(-std=c++20 -O2 -lineinfo -Iinclude -Itests -gencode "arch=compute_$arch,code=sm_$arch")
{ date -u +%Y-%m-%dT%H:%MZ; git log -1 --format=%H 2>/dev/null || true; "$nvcc" --version | tail -1; } >"$out/run.txt"

failed=()
# Compiles files side by side; names those that fail.
compile() {                                        # FLAGS... -- FILES...
  local extra=()
  while [[ $1 != -- ]]; do extra+=("$1"); shift; done
  shift
  printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c '
    name=$(echo "$1" | tr / _); object='"$objects"'/${name%.*}.o; shift
    "$@" -c "$0" -o "$object" >"$object.log" 2>&1 || { echo "does not compile: $0"; tail -n 30 "$object.log"; rm -f "$object"; }' {} {} "$nvcc" "${flags[@]}" "${extra[@]}"
}
object() { local name; name=$(echo "$1" | tr / _); echo "$objects/${name%.*}.o"; }

build_tests() {
  local doctest=${COTERIE_DOCTEST:-/usr/include} source
  [[ -e $doctest/doctest/doctest.h ]] || { echo "test: doctest is missing (COTERIE_DOCTEST=folder)"; failed+=(test); return 1; }
  mapfile -t tests < <(ls tests/cuda/*.cpp tests/simt/tests/instructions.cpp)
  local helpers=(tests/random/numbers.cpp tests/cuda/layer/host.cpp tests/cuda/random/check.cpp) links=()  # what some of them share
  flags+=("-isystem" "$doctest" "-DCOTERIE_TESTS_DIR=\"$PWD/tests\"")
  compile -x cu -- "${tests[@]}" tests/simt/main.cpp "${helpers[@]}"
  for source in "${helpers[@]}"; do links+=("$(object "$source")"); done
  for source in "${tests[@]}"; do
    [[ -e $(object "$source") ]] || { failed+=("$source"); continue; }
    "$nvcc" -gencode "arch=compute_$arch,code=sm_$arch" "$(object "$source")" "$(object tests/simt/main.cpp)" "${links[@]}" -o "$objects/$(basename "$source" .cpp)" -lcublasLt \
      >>"$objects/link.log" 2>&1 || { echo "does not link: $source"; tail -n 5 "$objects/link.log"; failed+=("$source"); }
  done
}
phase_test() {
  build_tests || return 0
  local source name
  for source in "${tests[@]}"; do
    name=$(basename "$source" .cpp)
    [[ -x $objects/$name ]] || continue
    if COTERIE_FRAGMENTS=$fragments timeout 120 "$objects/$name" >"$logs/test-$name.txt" 2>&1; then echo "passed: $name ($(grep -o 'assertions: *[0-9]*' "$logs/test-$name.txt" || true))"
    else echo "FAILED: $name"; tail -n 25 "$logs/test-$name.txt"; failed+=("test $name"); fi
  done
  tar -C build/gpu -czf "$out/fragments.tar.gz" fragments
  tar -C build/gpu -czf "$out/logs.tar.gz" logs
}
phase_sanitize() {
  local sanitizer tool name
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
  [[ -n $sanitizer ]] || { echo "sanitize: skipped, compute-sanitizer is missing"; return 0; }
  [[ -x $objects/layer ]] || build_tests || return 0
  for tool in memcheck racecheck synccheck initcheck; do
    for name in dispatch router product combine experts pack graph layer; do
      [[ -x $objects/$name && ( $tool == memcheck || ! $name =~ ^(experts|pack|graph|layer)$ ) ]] || continue
      if timeout 25 "$sanitizer" --tool "$tool" --error-exitcode 9 "$objects/$name" >"$logs/sanitize-$tool-$name.txt" 2>&1; then echo "$tool: $name clean"
      else
        local code=$?
        if ((code == 124)); then echo "$tool: $name clean as far as it came in 25 s"; else echo "$tool: $name FAILED ($code)"; tail -n 15 "$logs/sanitize-$tool-$name.txt"; failed+=("$tool $name"); fi
      fi
    done
  done
  tar -C build/gpu -czf "$out/logs.tar.gz" logs
}
phase_bench() {
  mapfile -t sources < <(ls bench/cuda/*.cu)
  compile -- "${sources[@]}"
  local objects_of=() source
  for source in "${sources[@]}"; do [[ -e $(object "$source") ]] && objects_of+=("$(object "$source")"); done
  "$nvcc" -gencode "arch=compute_$arch,code=sm_$arch" "${objects_of[@]}" -lcublasLt -o "$objects/bench_cuda" || { failed+=(bench); return 0; }
  timeout 420 "$objects/bench_cuda" --json "$out/bench.jsonl" 2>&1 | tee "$out/bench.txt" || failed+=(bench)
}
phase_peers() {
  python3 -c 'import torch; torch.cuda.init()' 2>/dev/null || { echo "peers: skipped, python3 has no torch with CUDA"; return 0; }
  timeout 420 python3 bench/cuda/peers.py --json "$out/peers.jsonl" 2>&1 | tee "$out/peers.txt" || failed+=(peers)
}

for phase in "${phases[@]}"; do
  start=$SECONDS
  echo "== $phase"
  "phase_$phase"
  echo "== $phase: $((SECONDS - start)) s"
done
if ((${#failed[@]})); then
  printf 'bench/gpu.sh: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
