#!/usr/bin/env bash
# Coterie as a stranger uses it.      tests/package/run.sh WAY WORK_FOLDER
#   find_package find_package_io too_new add_subdirectory FetchContent pkg-config moved two-units two-libraries cpp-calls-cu
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
way=$1
compiler=${CXX:-c++}
flags=(-std=c++20 -O1 -Wall -Wextra -Werror)
rm -rf "$2"
mkdir -p "$2"
work=$(cd "$2" && pwd)
skip() { echo "skipped: $1 is missing"; exit 77; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }; }

install_into() {
  quietly cmake -S "$root" -B "$work/build" -DCOTERIE_TESTS=OFF -DCOTERIE_BENCH=OFF -DCOTERIE_EXAMPLES=OFF
  quietly cmake --install "$work/build" --prefix "$1"
}
consume() {
  quietly cmake -S "$here/consumer" -B "$work/consumer" -DWAY="$way" -DCMAKE_BUILD_TYPE=Debug -DFETCHCONTENT_FULLY_DISCONNECTED=ON "$@"
  quietly cmake --build "$work/consumer"
}

case $way in
  find_package)
    install_into "$work/prefix"
    consume -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
    "$work/consumer/consumer"
    ;;
  find_package_io)
    echo '#include <nlohmann/json.hpp>' | "$compiler" -E -x c++ - >/dev/null 2>&1 || skip nlohmann-json3-dev
    install_into "$work/prefix"
    consume -DCMAKE_PREFIX_PATH="$work/prefix"
    "$work/consumer/consumer"
    "$work/consumer/reads_checkpoints"
    ;;
  too_new)
    install_into "$work/prefix"
    consume -DCMAKE_PREFIX_PATH="$work/prefix"
    ;;
  add_subdirectory | FetchContent)
    consume -DCOTERIE_SOURCE="$root"
    "$work/consumer/consumer"
    ;;
  pkg-config | moved)
    command -v pkg-config >/dev/null || skip pkg-config
    install_into "$work/prefix"
    prefix=$work/prefix
    if [[ $way == moved ]]; then mv "$work/prefix" "$work/elsewhere"; prefix=$work/elsewhere; rm -rf "$work/build"; fi
    export PKG_CONFIG_PATH=$prefix/share/pkgconfig
    [[ $(pkg-config --modversion coterie) == 0.1.0 ]] || { echo "coterie.pc has the wrong version"; exit 1; }
    # shellcheck disable=SC2046
    quietly "$compiler" "${flags[@]}" "$here/consumer/main.cpp" -o "$work/consumer" $(pkg-config --cflags --libs coterie)
    "$work/consumer"
    ;;
  two-units)
    for unit in first second main; do quietly "$compiler" "${flags[@]}" -I"$root/include" -c "$here/link/$unit.cpp" -o "$work/$unit.o"; done
    quietly "$compiler" "$work"/{first,second,main}.o -o "$work/program" -pthread
    "$work/program"
    ;;
  two-libraries)
    for unit in first second; do quietly "$compiler" "${flags[@]}" -I"$root/include" -fPIC -shared "$here/link/$unit.cpp" -o "$work/lib$unit.so" -pthread; done
    quietly "$compiler" "${flags[@]}" -I"$root/include" "$here/link/main.cpp" -o "$work/program" -L"$work" -lfirst -lsecond -Wl,-rpath,"$work" -pthread
    "$work/program"
    ;;
  cpp-calls-cu)
    command -v nvcc >/dev/null || skip nvcc
    quietly nvcc -std=c++20 -O1 -Xcompiler=-Wall,-Wextra -Werror all-warnings -I"$root/include" -c "$here/link/device.cu" -o "$work/device.o"
    for unit in second main; do quietly "$compiler" "${flags[@]}" -I"$root/include" -c "$here/link/$unit.cpp" -o "$work/$unit.o"; done
    quietly nvcc "$work"/{device,second,main}.o -o "$work/program" -Xcompiler=-pthread
    "$work/program"
    ;;
  *) echo "no such way: $way"; exit 2 ;;
esac
