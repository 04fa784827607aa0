// Codes of a byte each, or two e2m1.
#include "quantised.hpp"

using namespace golden;
namespace {
constexpr Config fp8_blocks = quantised(deepseek_v3, DType::fp8_e4m3, {.group = 64, .group_rows = 32});
}

TEST_CASE("golden fp8 in blocks, transformers") { format<fp8_blocks>("quantised/deepseek_v3_fp8"); }
TEST_CASE("golden int8 in rows, compressed-tensors") { format<quantised(qwen3_moe, DType::int8, {})>("quantised/qwen3_moe_int8_rows"); }
TEST_CASE("golden fp8 in rows, compressed-tensors") { format<quantised(qwen3_moe, DType::fp8_e4m3, {})>("quantised/qwen3_moe_fp8_rows"); }
TEST_CASE("golden fp8 in blocks that the matrices do not fill, compressed-tensors") { format<quantised(qwen3_moe, DType::fp8_e4m3, {.group = 64, .group_rows = 24})>("quantised/qwen3_moe_fp8_ragged"); }
TEST_CASE("golden MXFP4, compressed-tensors") { format<quantised(qwen3_moe, DType::mxfp4, {.group = 32})>("quantised/qwen3_moe_mxfp4"); }

TEST_CASE("golden quantised experts in a layer of bf16: fp8") { in_bf16<fp8_blocks>("quantised/deepseek_v3_fp8"); }
