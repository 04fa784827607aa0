// Codes of four or eight bits, several in a word.
#include "quantised.hpp"

using namespace golden;
namespace {
constexpr Config int4_groups = quantised(qwen3_moe, DType::int4, {.group = 32}), int4_zeros = quantised(qwen3_moe, DType::int4, {.group = 32, .zero_points = 1});
}

TEST_CASE("golden packed int4, compressed-tensors") { format<quantised(deepseek_v3, DType::int4, {.group = 32})>("quantised/deepseek_v3_packed"); }
TEST_CASE("golden packed int4 with zero points, compressed-tensors") { format<int4_zeros>("quantised/qwen3_moe_packed_zeros"); }
TEST_CASE("golden packed int4 in rows that fill no word, compressed-tensors") { format<quantised(sized(qwen3_moe, 92, 36), DType::int4, {.zero_points = 1})>("quantised/qwen3_moe_packed_rows"); }
TEST_CASE("golden packed int8, compressed-tensors") { format<quantised(qwen3_moe, DType::int8, {.group = 32})>("quantised/qwen3_moe_packed_int8"); }
TEST_CASE("golden AWQ, AutoAWQ") { format<int4_zeros>("quantised/qwen3_moe_awq"); }
TEST_CASE("golden GPTQ, GPTQModel") { format<int4_groups>("quantised/qwen3_moe_gptq"); }
TEST_CASE("golden GPTQ with zero points, GPTQModel") { format<int4_zeros>("quantised/qwen3_moe_gptq_zeros"); }
TEST_CASE("golden GPTQ in its second format and 8 bits, GPTQModel") { format<quantised(qwen3_moe, DType::int8, {.group = 32, .zero_points = 1})>("quantised/qwen3_moe_gptq_v2"); }

TEST_CASE("golden quantised experts in a layer of bf16: int4") {
  in_bf16<int4_groups>("quantised/qwen3_moe_gptq");
  for (char const* name : {"quantised/qwen3_moe_packed_zeros", "quantised/qwen3_moe_awq", "quantised/qwen3_moe_gptq_zeros"}) in_bf16<int4_zeros>(name);
}
