#!/usr/bin/env bash
# Everything that can be checked without a GPU.      tests/run.sh [--thorough | --long] [--cases N] [--no-install]
#   (nothing)      g++: all rooms, files also under ASan and UBSan; the user programs with every compiler that is here;
#                  misuse, public headers, packages, examples
#   --thorough     only what that leaves out: the other rooms and layers that no run has compiled before under ASan and UBSan, ThreadSanitizer,
#                  clang 14 and 19, fuzzing, the benchmarks, every compiler and flag
#   --long         only what neither has time for: the other emulated programs and random layers, rooms under qemu, all programs of bench/gpu.sh
#   --cases N      so many random layers instead of 2,048 (a long run: 100000)
#   --no-install   do not install what is missing; name it and run what can run
# Installs through apt where that works (root or sudo); without a CUDA toolkit, nvcc and its headers from PyPI into build/cuda
# (COTERIE_CUDA_TOOLKIT=none: as if there were none). Build trees, with their logs: build/. COTERIE_SEED repeats a run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,11s/^# \{0,1\}//p' tests/run.sh >&2; exit 2; }
thorough=0 long=0 install=1
while (($#)); do
  case $1 in
    --thorough) thorough=1 ;;
    --long) long=1 ;;
    --cases) [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage; export COTERIE_CASES=$2; shift ;;
    --no-install) install=0 ;;
    *) usage ;;
  esac
  shift
done
mkdir -p build
exec </dev/null

# package=command that shows it is there (empty: ask dpkg)
needs=(g++=g++ cmake=cmake ninja-build=ninja pkg-config=pkg-config doctest-dev= nlohmann-json3-dev= clang-14=clang++-14 clang-19=clang++-19 libclang-rt-19-dev=)
((thorough || long)) && needs+=(libclang-rt-14-dev= libbenchmark-dev= python3=python3 g++-aarch64-linux-gnu=aarch64-linux-gnu-g++ qemu-user-static=qemu-aarch64-static)
missing_packages() {
  local need
  for need in "${needs[@]}"; do
    if [[ -n ${need#*=} ]]; then command -v "${need#*=}" >/dev/null || echo "${need%%=*}"
    elif command -v dpkg-query >/dev/null; then dpkg-query -W -f '${db:Status-Abbrev}' "${need%%=*}" 2>/dev/null | grep -q '^ii' || echo "${need%%=*}"
    fi
  done
}
install_packages() {
  local as=() package available=()
  ((EUID == 0)) || as=(sudo -n)
  command -v apt-get >/dev/null && "${as[@]}" true 2>/dev/null || return 1
  local options=(-qq -y --no-install-recommends -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=120)
  "${as[@]}" apt-get "${options[@]}" update || return 1
  for package in "$@"; do apt-cache show "$package" >/dev/null 2>&1 && available+=("$package"); done
  ((${#available[@]})) && "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install "${available[@]}"
}

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} && install)); then
  echo "installing: ${missing[*]}"
  install_packages "${missing[@]}" >build/install.log 2>&1 || true
  mapfile -t missing < <(missing_packages)
fi
((${#missing[@]})) && echo "missing: ${missing[*]} (what needs them is skipped)"
command -v cmake >/dev/null || { echo "tests/run.sh: cannot run without cmake" >&2; exit 1; }

# CUDA's compiler and headers, for the kernels that the emulator runs and that nvcc compiles: no GPU and no driver is needed.
cuda_packages=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
install_cuda() {
  local work=build/cuda.new top
  rm -rf build/cuda "$work"
  if ! python3 -c 'import ensurepip' 2>/dev/null; then install_packages python3-venv || true; fi
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --disable-pip-version-check --no-deps --only-binary :all: --timeout 30 --retries 2 --target "$work/packages" "${cuda_packages[@]}" || return 1
  top=("$work"/packages/nvidia/cu*)
  [[ -d ${top[0]} ]] || return 1
  chmod +x "${top[0]}"/bin/* "${top[0]}"/nvvm/bin/* 2>/dev/null
  ln -sfn lib "${top[0]}/lib64"                    # where nvcc and CMake look
  ln -sfn libcudart.so.13 "${top[0]}/lib/libcudart.so"
  mv "${top[0]}" build/cuda && rm -rf "$work"
}
# The headers of a cuBLAS with grouped matmul, which the pinned toolkit lacks. Its package is what brings them.
install_cublas() {
  local work=build/cublas.new
  rm -rf build/cublas "$work"
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" download --disable-pip-version-check --no-deps --only-binary :all: --timeout 30 --retries 2 --dest "$work" nvidia-cublas==13.10.0.20 || return 1
  python3 -c 'import glob, sys, zipfile
with zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]) as wheel:
    wheel.extractall(sys.argv[1], [name for name in wheel.namelist() if "/include/" in name])' "$work" || return 1
  mv "$work"/nvidia/cu*/include "$work/headers" && mv "$work/headers" build/cublas && rm -rf "$work"
}
hide_cuda=OFF
if [[ ${COTERIE_CUDA_TOOLKIT:-} == none ]]; then
  PATH=$(tr : '\n' <<<"$PATH" | while read -r folder; do [[ -e $folder/nvcc ]] || echo "$folder"; done | paste -sd :)
  hide_cuda=ON
elif ! command -v nvcc >/dev/null && [[ -x /usr/local/cuda/bin/nvcc ]]; then
  PATH=$PATH:/usr/local/cuda/bin
fi
if ! command -v nvcc >/dev/null; then
  if [[ ! -x build/cuda/bin/nvcc ]] && ((install)); then
    echo "installing nvcc and CUDA's headers from PyPI into build/cuda: 105 MB to download, 270 MB on disk (${cuda_packages[*]})"
    install_cuda >>build/install.log 2>&1 || rm -rf build/cuda.new
  fi
  if [[ -x build/cuda/bin/nvcc ]]; then
    PATH=$PWD/build/cuda/bin:$PATH
    hide_cuda=OFF
  else
    echo "missing: nvcc and CUDA's headers (the kernels' tests are skipped)"
  fi
fi
export PATH
if ((thorough && install)) && [[ ! -e build/cublas/cublasLt.h ]]; then
  echo "installing cuBLAS's headers from PyPI into build/cublas: 444 MB to download, 1 MB on disk (nvidia-cublas==13.10.0.20)"
  install_cublas >>build/install.log 2>&1 || { rm -rf build/cublas.new; echo "missing: cuBLAS's newer headers (grouped matmul is not tested)"; }
fi
cuda=(-U 'CUDAToolkit_*' -U CUDA_CUDART -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=$hide_cuda)               # whatever an earlier run found
[[ ! -e build/cublas/cublasLt.h ]] || cuda+=(-DCOTERIE_CUBLAS_INCLUDE="$PWD/build/cublas")

# Configures, builds and tests one preset; remembers a failure and goes on.
failed=()
quietly() {
  local log=$1
  shift
  "$@" >>"$log" 2>&1 || { tail -n 60 "$log" >&2; return 1; }
}
tree() {                                           # PRESET [TEST_PRESET] [CMAKE_ARGUMENTS...]
  local preset=$1 tests=${2:-} log=build/$1.log start=$SECONDS generator=()
  : >"$log"
  command -v ninja >/dev/null && [[ ! -e build/$preset/CMakeCache.txt ]] && generator=(-G Ninja)
  echo "== $preset"
  if ! quietly "$log" cmake --preset "$preset" "${generator[@]}" "${cuda[@]}" "${@:3}" || ! quietly "$log" cmake --build --preset "$preset" --parallel 2; then
    echo "== $preset: does not build ($log)" >&2
    failed+=("$preset")
    return
  fi
  echo "== $preset: built in $((SECONDS - start)) s"
  [[ -n $tests ]] || return 0
  ctest --preset "$tests" || failed+=("$preset")
  [[ $preset =~ san|new ]] ||                      # what the random layers measured, which a passing test keeps to itself
    sed -n '/^COTERIE_SEED=/h; /^gradients: [0-9]/p; /elements compared/{x;p;x;}; /elements compared/,/^===/{/^===/!p}' "build/$preset/Testing/Temporary/LastTest.log"
}

# The rooms that a preset leaves out, but the layers of the goldens and of the room random: the new ones are compiled for these sanitizers.
other_rooms() {
  local taken
  taken=$(grep -A 12 "\"name\": \"$1\", \"inherits\"" CMakePresets.json | grep -m1 -o 'COTERIE_TEST_ROOMS": "[^"]*' | cut -d'"' -f3)
  find tests -mindepth 2 -maxdepth 2 -name '*.cpp' -printf '%h\n' | xargs -n1 basename | sort -u | grep -vxE "${taken//;/|}|golden|random|cuda|fuzz|headers|misuse|package|programs|simt" | paste -sd ';'
}

if ((long)); then
  tree dev long
elif ((thorough)); then
  tree tsan tsan
  if command -v clang++-14 >/dev/null; then tree clang-14 clang-14; fi
  if command -v clang++-19 >/dev/null; then tree clang-19 clang-19 -DCOTERIE_FUZZ_SECONDS=15; fi
  tree bench-runs bench-runs
  if command -v python3 >/dev/null; then
    seed=${COTERIE_SEED:-$(date +%s)}
    echo "new configs: tests/random/cover.py --seed $seed --rows 20"
    python3 tests/random/cover.py --seed "$seed" --rows 20 --out build/new-configs
    tree new-configs new-configs -DCOTERIE_RANDOM_CONFIGS="$PWD/build/new-configs"
  fi
  tree dev thorough
  tree asan asan "-DCOTERIE_TEST_ROOMS=$(other_rooms asan)"
else
  tree dev dev
  tree asan asan
fi

if ((${#failed[@]})); then
  echo "tests/run.sh: failed: ${failed[*]} (after $SECONDS s)" >&2
  exit 1
fi
