#!/usr/bin/env bash
# Misuse that must not compile, and must say why.      tests/misuse/run.sh TABLE.cases COMPILER WORK_FOLDER
# A table is a frame with the word CASE, a line %%, then records: a sentence, "- code" lines that must fail with it and no
# other, "~ code" lines where others may follow it, and "+ code" lines, legal neighbours, that must compile without a warning.
# MISUSE_FLAGS: more for the compiler.
#      tests/misuse/run.sh --complete                  every static_assert sentence of the headers stands in some table
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
include=$here/../../include

if [[ ${1:-} == --complete ]]; then
  untested=$(grep -rhoE '"coterie[A-Za-z:]*: [A-Za-z][^"]*"\)' "$include" | sed 's/^"//; s/")$//' | sort -u | grep -vxFf <(cat "$here"/*.cases "$here"/../cuda/*.cases) || true)
  [[ -z $untested ]] && exit 0
  printf 'no case in tests/misuse/*.cases for:\n%s\n' "$untested"
  exit 1
fi

if [[ ${1:-} == --one ]]; then                    # COMPILER FILE; its first line: "// bad|first|good SENTENCE"
  compiler=$2 file=$3 status=0
  read -r _ kind sentence <"$file"
  LC_ALL=C "$compiler" -std=c++20 -Wall -Wextra -fsyntax-only -I"$include" ${MISUSE_FLAGS:-} "$file" >"$file.log" 2>&1 || status=$?
  complain() { echo "$file: $1" && sed 1d "$file" && cut -c 1-400 "$file.log" | head -n 20; exit 1; }
  if [[ $kind == good ]]; then
    ((status == 0)) && [[ ! -s $file.log ]] || complain "must compile without a warning"
  else
    ((status != 0)) || complain "must not compile; want: $sentence"
    said=$(sed -nE 's/.*error: static.assert.*(coterie[A-Za-z:]*: [A-Za-z][^"]*)"?$/\1/p' "$file.log" | uniq)
    [[ $kind != first ]] || said=${said%%$'\n'*}
    [[ $said == "$sentence" ]] || complain "want only: $sentence; got: ${said:-no sentence}"
  fi
  exit 0
fi

table=$1 compiler=$2 work=$3
command -v "$compiler" >/dev/null || { echo "skipped: $compiler is missing"; exit 77; }
rm -rf "$work"
mkdir -p "$work"
frame=$(sed '/^%%$/,$d' "$table")
[[ $frame == *CASE* ]] || { echo "$table: the frame has no CASE"; exit 1; }
write() { printf '// %s %s\n%s\n' "$1" "$sentence" "${frame/CASE/$3}" >"$work/$2.cpp"; }
bad=0 good=0 sentence=
while IFS= read -r line; do
  case $line in
    "") sentence= ;;
    "- "*) bad=$((bad + 1)); write bad "bad-$bad" "${line:2}" ;;
    "~ "*) bad=$((bad + 1)); write first "bad-$bad" "${line:2}" ;;
    "+ "*) good=$((good + 1)); write good "good-$good" "${line:2}" ;;
    *) sentence=$line ;;
  esac
done < <(sed '1,/^%%$/d' "$table")
((bad && good)) || { echo "$table: no cases"; exit 1; }
find "$work" -name '*.cpp' -print0 | sort -z | xargs -0 -n 1 -P 2 bash "$here/run.sh" --one "$compiler"
echo "$bad misuses refused, $good neighbours accepted"
