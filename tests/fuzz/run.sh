#!/usr/bin/env bash
# One bounded libFuzzer run.      tests/fuzz/run.sh PROGRAM SECONDS WORK_FOLDER WRITER
# WRITER --write FOLDER makes the first inputs, and the goldens' config.json are others. What the fuzzer finds stays in WORK_FOLDER.
set -euo pipefail
program=$1 seconds=$2 work=$3 writer=$4
mkdir -p "$work/seeds" "$work/corpus"
"$writer" --write "$work/seeds" >/dev/null
for golden in "$(dirname "${BASH_SOURCE[0]}")"/../golden/*/; do
  [[ ! -e ${golden}config.json ]] || cp "${golden}config.json" "$work/seeds/golden_$(basename "$golden").json"
done
for quantised in '"gptq","bits":4,"group_size":64,"sym":false,"desc_act":false,"checkpoint_format":"gptq_v2"' '"awq","bits":4,"group_size":64,"zero_point":true,"version":"gemm"' \
    '"fp8","weight_block_size":[128,128]' '"compressed-tensors","config_groups":{"a":{"weights":{"num_bits":4,"type":"int","strategy":"group","group_size":32,"symmetric":true}}}'; do
  sed '$ s/}$/,"quantization_config":{"quant_method":'"$quantised"'}}/' "$(dirname "${BASH_SOURCE[0]}")/../golden/mixtral/config.json" >"$work/seeds/quantised_$(cksum <<<"$quantised" | cut -d' ' -f1).json"
done
"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 -verbosity=0 \
  -artifact_prefix="$work/" "$work/corpus" "$work/seeds" >"$work/log" 2>&1 || { tail -n 60 "$work/log"; exit 1; }
grep -E 'number_of_executed_units|new_units_added' "$work/log"
