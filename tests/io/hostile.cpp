#include "hostile.hpp"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>

#include <coterie/io/safetensors.hpp>

namespace crafted {
namespace {

using namespace std::string_literals;

std::string times(int n, std::string const& s) {
  std::string all;
  all.reserve(static_cast<std::size_t>(n) * s.size());
  for (int i = 0; i < n; ++i) all += s;
  return all;
}
std::string zeros(int n) { return std::string(static_cast<std::size_t>(n), '\0'); }

std::string prefix(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 255);
  return bytes;
}

// "name":{"dtype":…,"shape":…,"data_offsets":…}
std::string tensor(std::string const& name, std::string const& dtype, std::string const& shape, std::string const& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}
// A file of one tensor of bytes whose shape or offsets are what is wrong.
std::string shaped(std::string const& shape, int data = 1) {
  return safetensors("{" + tensor("t", "U8", shape, "[0," + std::to_string(data) + "]") + "}", zeros(data));
}
std::string at(std::string const& offsets, int data = 4) {
  return safetensors("{" + tensor("t", "U8", "[4]", offsets) + "}", zeros(data));
}
// A file whose only tensor is this text.
std::string tensor_text(std::string const& text) { return safetensors("{\"t\":" + text + "}", zeros(1)); }
std::string metadata(std::string const& text) { return safetensors("{\"__metadata__\":" + text + "}"); }

void hostile_files(std::vector<Case>& all) {
  auto const add = [&](std::string name, std::string bytes, std::string error, std::uint64_t grow_to = 0) {
    all.push_back({Kind::safetensors, std::move(name), std::move(bytes), std::move(error), {}, grow_to});
  };
  std::string const a = tensor("a", "U8", "[4]", "[0,4]"), b = tensor("b", "U8", "[4]", "[4,8]");

  // Length of the header.
  add("empty", "", "size: got 0 bytes, want at least 8");
  add("seven_bytes", zeros(7), "size: got 7 bytes, want at least 8");
  add("length_zero", prefix(0), "header: got '' at first, want '{'");
  add("length_zero_with_data", prefix(0) + "{}", "header: got '' at first, want '{'");
  add("length_max", prefix(~std::uint64_t{0}) + "{}", "header length: got 18446744073709551615 bytes, want at most 2");
  add("length_wraps_the_sum", prefix(~std::uint64_t{7}) + "{}", "header length: got 18446744073709551608 bytes");
  add("length_2_63", prefix(std::uint64_t{1} << 63) + "{}", "header length: got 9223372036854775808 bytes");
  add("length_one_past_the_end", prefix(3) + "{}", "header length: got 3 bytes, want at most 2");
  add("length_big_endian", "\0\0\0\0\0\0\0\2{}"s, "header length: got 144115188075855872 bytes");
  add("length_over_the_limit", prefix(100'000'001) + "{}", "got 100000001 bytes, want at most 100000000", 100'000'100);

  // Not JSON.
  add("header_cut", prefix(20) + ("{" + a).substr(0, 20), "is not JSON: at byte 21, at '\"'");
  add("header_only_brace", safetensors("{"), "is not JSON");
  add("leading_space", safetensors(" {}"), "header: got ' ' at first, want '{'");
  add("root_array", safetensors("[]"), "header: got '[' at first");
  add("root_string", safetensors("\"{}\""), "header: got '\"' at first");
  add("byte_order_mark", safetensors("\xef\xbb\xbf{}"), "header: got '\\xef' at first");
  add("gzip", safetensors("\x1f\x8b\x08\0"s), "header: got '\\x1f' at first");
  add("nul_padding", safetensors("{}\0\0"s), "byte 2 is NUL");
  add("nul_hides_a_tensor", safetensors("{}\0{"s + a + "}", zeros(4)), "byte 2 is NUL");
  add("nul_in_a_name", safetensors("{\"a\0b\":{}}"s), "byte 3 is NUL");
  add("garbage_after", safetensors("{}x"), "is not JSON: at byte 3");
  add("two_objects", safetensors("{}{}"), "is not JSON");
  add("comment", safetensors("{/**/}"), "is not JSON");
  add("comma_at_the_end", safetensors("{" + a + ",}", zeros(4)), "is not JSON");
  add("no_colon", safetensors("{\"a\" {}}"), "is not JSON");
  add("single_quotes", safetensors("{'a':1}"), "is not JSON");
  add("name_not_a_string", safetensors("{1:2}"), "is not JSON");
  add("newline_in_a_name", safetensors("{\"a\nb\":{}}"), "is not JSON");
  add("utf8_invalid", safetensors("{\"\xff\":{}}"), "is not JSON");
  add("utf8_overlong", safetensors("{\"\xc0\xaf\":{}}"), "is not JSON");
  add("utf8_surrogate", safetensors("{\"\xed\xa0\x80\":{}}"), "is not JSON");
  add("escaped_lone_surrogate", safetensors(R"({"\ud800":{}})"), "is not JSON");
  add("escape_unknown", safetensors(R"({"\x41":{}})"), "is not JSON");
  add("string_open", safetensors("{\"" + times(100'000, "a")), "is not JSON");
  add("number_leading_zero", shaped("[01]"), "is not JSON");
  add("number_nan", shaped("[NaN]"), "is not JSON");
  add("number_out_of_range", shaped("[1e400]"), "is not JSON");
  add("number_of_many_digits", shaped("[" + times(100'000, "9") + "]"), "is not JSON");

  // Depth.
  add("deep_arrays", safetensors("{\"a\":" + times(200'000, "[")), "tensor 'a': got an array, want an object");
  add("deep_objects", safetensors(times(200'000, "{\"a\":")), "tensor 'a': 'a' is no field of a tensor");
  add("deep_shape", shaped(times(200'000, "[")), "nests deeper than 3 levels");
  add("deep_metadata", metadata(times(200'000, "{\"a\":")), "metadata 'a': got an object, want a string");

  // Kinds of values.
  add("tensor_null", tensor_text("null"), "tensor 't': got null, want an object");
  add("tensor_number", tensor_text("1"), "tensor 't': got an integer, want an object");
  add("tensor_string", tensor_text("\"U8\""), "tensor 't': got a string, want an object");
  add("tensor_boolean", tensor_text("true"), "tensor 't': got a boolean, want an object");
  add("tensor_array", tensor_text(R"(["U8",[1],[0,1]])"), "tensor 't': got an array, want an object");
  add("tensor_empty", tensor_text("{}"), "tensor 't' has no 'dtype'");
  add("dtype_missing", tensor_text(R"({"shape":[1],"data_offsets":[0,1]})"), "tensor 't' has no 'dtype'");
  add("shape_missing", tensor_text(R"({"dtype":"U8","data_offsets":[0,1]})"), "tensor 't' has no 'shape'");
  add("offsets_missing", tensor_text(R"({"dtype":"U8","shape":[1]})"), "tensor 't' has no 'data_offsets'");
  add("field_unknown", tensor_text(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"stride":[1]})"), "'stride' is no field");
  add("dtype_twice", tensor_text(R"({"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]})"), "'dtype' stands twice");
  add("shape_twice", tensor_text(R"({"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]})"), "'shape' stands twice");
  add("offsets_twice", tensor_text(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]})"),
      "'data_offsets' stands twice");
  add("dtype_unknown", safetensors("{" + tensor("t", "X9", "[1]", "[0,1]") + "}", zeros(1)), "'dtype': got 'X9'");
  add("dtype_lower_case", safetensors("{" + tensor("t", "u8", "[1]", "[0,1]") + "}", zeros(1)), "'dtype': got 'u8'");
  add("dtype_empty", safetensors("{" + tensor("t", "", "[1]", "[0,1]") + "}", zeros(1)), "'dtype': got ''");
  add("dtype_long", safetensors("{" + tensor("t", times(100'000, "F"), "[1]", "[0,1]") + "}", zeros(1)), "FFF...', want a type");
  add("dtype_number", tensor_text(R"({"dtype":8,"shape":[1],"data_offsets":[0,1]})"), "'dtype': got an integer, want a string");
  add("dtype_array", tensor_text(R"({"dtype":["U8"],"shape":[1],"data_offsets":[0,1]})"), "'dtype': got an array, want a string");
  add("shape_null", shaped("null"), "'shape': got null, want an array");
  add("shape_number", shaped("1"), "'shape': got an integer, want an array");
  add("shape_object", shaped("{}"), "'shape': got an object, want an array");
  add("dimension_string", shaped("[\"1\"]"), "'shape': got a string, want integers");
  add("dimension_boolean", shaped("[true]"), "'shape': got a boolean, want integers");
  add("dimension_negative", shaped("[-1]"), "'shape': got -1, want at least 0");
  add("dimension_two_negatives", shaped("[-1,-1]"), "'shape': got -1, want at least 0");
  add("dimension_minus_zero", safetensors("{" + tensor("t", "U8", "[-0]", "[0,0]") + "}"), "'shape': got a real number");
  add("dimension_half", shaped("[2.5]", 2), "'shape': got a real number, want integers");
  add("dimension_one_point_zero", shaped("[1.0]"), "'shape': got a real number");
  add("dimension_exponent", shaped("[1e0]"), "'shape': got a real number");
  add("dimension_2_53_plus_1", shaped("[9007199254740993]"), "size: got 1 bytes, want 9007199254740993");
  add("dimension_2_63", shaped("[9223372036854775808]"), "'shape': got a real number");
  add("dimension_2_64", shaped("[18446744073709551616]"), "'shape': got a real number");
  add("dimension_2_64_plus_1", shaped("[18446744073709551617]"), "'shape': got a real number");
  add("offsets_string", at("\"0,4\""), "'data_offsets': got a string, want an array");
  add("offsets_none", at("[]"), "'data_offsets': got 0 numbers, want 2");
  add("offsets_one", at("[4]"), "'data_offsets': got 1 numbers, want 2");
  add("offsets_three", at("[0,4,8]"), "'data_offsets': got 3 numbers, want 2");
  add("offsets_nested", at("[[0,4]]"), "nests deeper than 3 levels");
  add("offsets_negative", at("[-4,0]"), "'data_offsets': got -4, want at least 0");
  add("offsets_real", at("[0,4.0]"), "'data_offsets': got a real number");
  add("metadata_string", metadata("\"pt\""), "tensor '__metadata__': got a string, want an object");
  add("metadata_null", metadata("null"), "tensor '__metadata__': got null, want an object");
  add("metadata_array", metadata("[]"), "tensor '__metadata__': got an array, want an object");
  add("metadata_number", metadata(R"({"a":1})"), "metadata 'a': got an integer, want a string");
  add("metadata_value_null", metadata(R"({"a":null})"), "metadata 'a': got null, want a string");
  add("metadata_nested", metadata(R"({"a":{}})"), "metadata 'a': got an object, want a string");
  add("metadata_as_tensor", safetensors("{" + tensor("__metadata__", "U8", "[1]", "[0,1]") + "}", zeros(1)),
      "metadata 'shape': got an array, want a string");

  // Names twice.
  add("tensor_twice", safetensors("{" + a + "," + a + "}", zeros(4)), "tensor 'a' stands twice");
  add("tensor_twice_side_by_side", safetensors("{" + a + "," + tensor("a", "U8", "[4]", "[4,8]") + "}", zeros(8)),
      "tensor 'a' stands twice");
  add("tensor_twice_by_escape", safetensors("{" + a + "," + tensor("\\u0061", "U8", "[4]", "[4,8]") + "}", zeros(8)),
      "tensor 'a' stands twice");
  add("metadata_twice", safetensors(R"({"__metadata__":{},"__metadata__":{}})"), "'__metadata__' stands twice");
  add("metadata_name_twice", metadata(R"({"a":"1","a":"2"})"), "metadata 'a' stands twice");
  add("name_with_escapes", safetensors("{" + tensor("\\u001b[2J\\n\\u0000", "U8", "[9]", "[0,4]") + "}", zeros(4)),
      "tensor '\\x1b[2J\\x0a\\x00': size");
  add("name_of_100000", safetensors("{" + tensor(times(100'000, "n"), "U8", "[9]", "[0,4]") + "}", zeros(4)), "nnn...': size");

  // Offsets.
  add("overlap_full", safetensors("{" + a + "," + tensor("b", "U8", "[4]", "[0,4]") + "}", zeros(4)),
      "begins at byte 0, want 4 (an overlap)");
  add("overlap_partial", safetensors("{" + a + "," + tensor("b", "U8", "[4]", "[2,6]") + "}", zeros(6)),
      "tensor 'b': begins at byte 2, want 4 (an overlap)");
  add("overlap_empty_inside", safetensors("{" + a + "," + tensor("b", "U8", "[0]", "[2,2]") + "}", zeros(4)),
      "tensor 'b': begins at byte 2, want 4 (an overlap)");
  std::string amplified;
  for (int i = 0; i < 1000; ++i) amplified += (i ? "," : "") + tensor(std::to_string(i), "U8", "[4096]", "[0,4096]");
  add("overlap_of_thousand", safetensors("{" + amplified + "}", zeros(4096)), "begins at byte 0, want 4096 (an overlap)");
  add("hole_first", safetensors("{" + b + "}", zeros(8)), "tensor 'b': begins at byte 4, want 0 (a hole)");
  add("hole_between", safetensors("{" + a + "," + tensor("b", "U8", "[4]", "[8,12]") + "}", zeros(12)),
      "tensor 'b': begins at byte 8, want 4 (a hole)");
  add("hole_before_empty", safetensors("{" + a + "," + tensor("b", "U8", "[0]", "[9,9]") + "}", zeros(4)),
      "tensor 'b': begins at byte 9, want 4 (a hole)");
  add("data_after", safetensors("{" + a + "}", zeros(5)), "data: got 5 bytes, want 4");
  add("data_cut", safetensors("{" + a + "}", zeros(3)), "data: got 3 bytes, want 4");
  add("data_without_tensors", safetensors("{}", zeros(1)), "data: got 1 bytes, want 0");
  add("data_none", safetensors("{" + a + "}"), "data: got 0 bytes, want 4");
  add("offsets_reversed", at("[4,0]"), "begins at byte 4, want 0 (a hole)");
  add("offsets_reversed_after", safetensors("{" + a + "," + tensor("b", "U8", "[0]", "[4,2]") + "}", zeros(4)),
      "tensor 'b': ends at byte 2, before it begins at 4");
  add("offsets_past_the_end", safetensors("{" + tensor("t", "U8", "[4096]", "[0,4096]") + "}", zeros(4)),
      "data: got 4 bytes, want 4096");
  add("offsets_2_63_less_1", at("[0,9223372036854775807]"), "size: got 9223372036854775807 bytes, want 4");
  add("offsets_2_64_less_1", at("[0,18446744073709551615]"), "'data_offsets': got a real number");
  add("size_too_small", shaped("[2]"), "size: got 1 bytes, want 2");
  add("size_too_large", shaped("[2]", 3), "size: got 3 bytes, want 2");
  add("size_of_scalar", shaped("[]", 2), "size: got 2 bytes, want 1");
  add("size_of_another_type", safetensors("{" + tensor("t", "F32", "[4]", "[0,8]") + "}", zeros(8)), "size: got 8 bytes, want 16");
  add("product_wraps_to_zero", safetensors("{" + tensor("t", "U8", "[4294967296,4294967296,4]", "[0,0]") + "}"),
      "shape times type");
  add("product_wraps_to_four", safetensors("{" + tensor("t", "U8", "[4611686018427387905,4]", "[0,4]") + "}", zeros(4)),
      "shape times type");
  add("product_wraps_before_zero", safetensors("{" + tensor("t", "U8", "[4294967296,4294967296,0]", "[0,0]") + "}"),
      "shape times type");
  add("bits_wrap", safetensors("{" + tensor("t", "F64", "[288230376151711744]", "[0,0]") + "}"), "shape times type");
  add("many_dimensions", shaped("[" + times(99'999, "2,") + "2]"), "shape times type");
  add("half_a_byte", safetensors("{" + tensor("t", "F4", "[3]", "[0,1]") + "}", zeros(1)), "shape times type");
  add("six_bits", safetensors("{" + tensor("t", "F6_E2M3", "[]", "[0,1]") + "}", zeros(1)), "shape times type");
}

void hostile_indices(std::vector<Case>& all) {
  using Files = std::vector<std::pair<std::string, std::string>>;
  auto const add = [&](std::string name, std::string bytes, std::string error, Files beside = {}, std::uint64_t grow_to = 0) {
    all.push_back({Kind::index, std::move(name), std::move(bytes), std::move(error), std::move(beside), grow_to});
  };
  auto const file = [&](std::string name, std::string const& shard, std::string error) {
    add(std::move(name), R"({"weight_map":{"a":")" + shard + "\"}}", std::move(error));
  };
  std::string const a = safetensors("{" + tensor("a", "U8", "[1]", "[0,1]") + "}", "A");
  std::string const b = safetensors("{" + tensor("b", "U8", "[1]", "[0,1]") + "}", "B");
  std::string const both = R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})";

  add("index_empty", "", "is not JSON");
  add("index_cut", both.substr(0, 30), "is not JSON");
  add("index_nul", both + "\0"s, "is NUL");
  add("index_too_large", "{}", "size: got 100000001 bytes, want at most 100000000", {}, 100'000'001);
  add("index_array", "[]", "index: got an array, want an object");
  add("index_number", "1", "index: got an integer, want an object");
  add("index_no_map", R"({"metadata":{}})", "index has no 'weight_map'");
  add("index_map_deeper", R"({"metadata":{"weight_map":{"a":"1.safetensors"}}})", "index has no 'weight_map'");
  add("index_map_null", R"({"weight_map":null})", "'weight_map': got null, want an object");
  add("index_map_array", R"({"weight_map":[]})", "'weight_map': got an array, want an object");
  add("index_map_twice", R"({"weight_map":{},"weight_map":{}})", "'weight_map' stands twice");
  add("index_tensor_twice", R"({"weight_map":{"a":"1.safetensors","a":"2.safetensors"}})", "tensor 'a' stands twice");
  add("index_file_number", R"({"weight_map":{"a":1}})", "tensor 'a': got an integer, want a string");
  add("index_file_array", R"({"weight_map":{"a":["1.safetensors"]}})", "tensor 'a': got an array, want a string");
  add("index_file_object", R"({"weight_map":{"a":{"b":"1.safetensors"}}})", "tensor 'a': got an object, want a string");
  add("index_deep_metadata", R"({"metadata":)" + times(200'000, "["), "nests deeper than 32 levels");
  file("index_file_above", "../1.safetensors", "has a path separator");
  file("index_file_absolute", "/tmp/1.safetensors", "has a path separator");
  file("index_file_in_folder", "shards/1.safetensors", "has a path separator");
  file("index_file_escaped_slash", "..\\u002f1.safetensors", "has a path separator");
  file("index_file_backslash", "..\\\\1.safetensors", "has a path separator");
  file("index_file_drive", "C:1.safetensors", "has a path separator");
  file("index_file_dots", "..safetensors", "has '..' in its name");
  file("index_file_empty", "", "does not end in '.safetensors'");
  file("index_file_only_suffix", ".safetensors", "does not end in '.safetensors'");
  file("index_file_other_kind", "pytorch_model.bin", "does not end in '.safetensors'");
  file("index_file_nul", "1.safetensors\\u0000.safetensors", "has NUL in its name");
  file("index_file_long", times(300, "a") + ".safetensors", "longer than 255 bytes");
  file("index_file_missing", "1.safetensors", "1.safetensors': cannot be opened");
  add("index_file_is_folder", R"({"weight_map":{"a":"1.safetensors"}})", "is not a regular file", {{"1.safetensors/x", ""}});
  add("index_shard_hostile", both, "size: got 0 bytes", {{"1.safetensors", a}, {"2.safetensors", ""}});
  add("index_shards_swapped", both, "tensor 'a' is not in '1.safetensors'", {{"1.safetensors", b}, {"2.safetensors", a}});
  add("index_tensor_missing", both, "tensor 'b' is not in '2.safetensors'",
      {{"1.safetensors", a}, {"2.safetensors", safetensors("{}")}});
  add("index_lacks_tensor", R"({"weight_map":{"a":"1.safetensors"}})", "tensor 'c' in '1.safetensors' is not in the index",
      {{"1.safetensors", safetensors("{" + tensor("c", "U8", "[1]", "[1,2]") + "," + tensor("a", "U8", "[1]", "[0,1]") + "}", "AC")}});
  add("index_tensor_in_two", both, "tensor 'a' in '2.safetensors' is in the index with another file",
      {{"1.safetensors", a},
       {"2.safetensors", safetensors("{" + tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("b", "U8", "[1]", "[1,2]") + "}", "AB")}});
}

constexpr char const* good_config = R"({"model_type":"m","hidden_size":8,"rope_theta":1e4,"norm_topk_prob":true,)"
                                    R"("text_config":{"num_experts":4,"layer_types":["full","sparse"]}})";

void hostile_configs(std::vector<Case>& all) {
  auto const add = [&](std::string name, std::string bytes, std::string error, std::uint64_t grow_to = 0) {
    all.push_back({Kind::config, std::move(name), std::move(bytes), std::move(error), {}, grow_to});
  };
  // The good one with one piece replaced.
  auto const with = [&](std::string name, std::string const& piece, std::string const& by, std::string error) {
    std::string text = good_config;
    text.replace(text.find(piece), piece.size(), by);
    add(std::move(name), std::move(text), std::move(error));
  };
  add("config_empty", "", "is not JSON");
  add("config_cut", std::string(good_config).substr(0, 40), "is not JSON");
  add("config_nul", good_config + "\0"s, "is NUL");
  add("config_too_large", "{}", "size: got 16777217 bytes, want at most 16777216", (1 << 24) + 1);
  add("config_65_levels", times(65, "[") + times(65, "]"), "nests deeper than 64 levels");
  add("config_200000_levels", times(200'000, "["), "nests deeper than 64 levels");
  add("config_200000_objects", times(200'000, "{\"a\":"), "nests deeper than 64 levels");
  add("config_too_many_values", "[" + times(1 << 18, "0,") + "0]", "holds more than 262144 values");
  add("config_twice", R"({"a":1,"a":1})", "name 'a' stands twice");
  add("config_twice_by_escape", R"({"a":1,"\u0061":1})", "name 'a' stands twice");
  add("config_twice_deeper", R"({"x":[{"b":1,"a":1,"b":1}]})", "name 'b' stands twice");
  add("config_python_nan", R"({"a":NaN})", "is not JSON");
  add("config_python_infinity", R"({"a":[0.0,Infinity]})", "is not JSON");
  add("config_number_out_of_range", R"({"a":1e999})", "is not JSON");
  add("config_comment", "{} // the end", "is not JSON");
  add("config_utf8_invalid", "{\"a\":\"\x80\"}", "is not JSON");
  add("config_pickle", "\x80\x04\x95", "is not JSON");
  add("config_root_array", "[]", "config.json': got an array, want an object");
  add("config_root_number", "1", "config.json': got an integer, want an object");
  with("config_field_missing", R"("hidden_size":8,)", "", "has no field 'hidden_size'");
  with("config_integer_string", "8", "\"8\"", "field 'hidden_size': got a string, want an integer");
  with("config_integer_real", "8", "8.0", "field 'hidden_size': got a real number, want an integer");
  with("config_integer_2_63", "8", "9223372036854775808", "field 'hidden_size': got a real number, want an integer");
  with("config_integer_null", "8", "null", "field 'hidden_size': got null, want an integer");
  with("config_integer_boolean", "8", "true", "field 'hidden_size': got a boolean, want an integer");
  with("config_number_string", "1e4", "\"1e4\"", "field 'rope_theta': got a string, want a real number");
  with("config_boolean_integer", "true", "1", "field 'norm_topk_prob': got an integer, want a boolean");
  with("config_string_array", "\"m\"", "[\"m\"]", "field 'model_type': got an array, want a string");
  with("config_nested_kind", ":4", ":[]", "field 'text_config.num_experts': got an array, want an integer");
  with("config_nested_missing", R"("num_experts":4,)", "", "field 'text_config': has no field 'num_experts'");
  with("config_object_scalar", R"("layer_types":["full","sparse"])", R"("layer_types":3)", "text_config.layer_types': got an integer");
  with("config_element_kind", "\"sparse\"", "7", "field 'text_config.layer_types[1]': got an integer, want a string");
}

}

std::string safetensors(std::string const& header, std::string const& data) { return prefix(header.size()) + header + data; }

std::vector<Case> hostile() {
  std::vector<Case> all;
  hostile_files(all);
  hostile_indices(all);
  hostile_configs(all);
  return all;
}

std::vector<Case> valid() {
  std::vector<Case> all;
  auto const add = [&](std::string name, std::string bytes) { all.push_back({Kind::safetensors, std::move(name), std::move(bytes)}); };
  std::string const a = tensor("a", "U8", "[4]", "[0,4]"), b = tensor("b", "F16", "[2,1]", "[4,8]");
  add("valid_no_tensors", safetensors("{}"));
  add("valid_only_metadata", metadata("{}"));
  add("valid_metadata", metadata(R"({"format":"pt","":"","\u00e9":"\n"})"));
  add("valid_padded", safetensors("{}      "));
  add("valid_padded_by_any_space", safetensors("{ \r\n\t} \n\t\r"));
  add("valid_two", safetensors("{" + a + "," + b + "}", "aaaabbbb"));
  add("valid_two_reversed", safetensors("{" + b + "," + a + "}", "aaaabbbb"));
  add("valid_metadata_last", safetensors("{" + a + R"(,"__metadata__":{"k":"v"}})", "aaaa"));
  add("valid_fields_in_any_order", tensor_text(R"({"data_offsets":[0,1],"shape":[1],"dtype":"U8"})"));
  add("valid_scalar", shaped("[]"));
  add("valid_empty_tensor", safetensors("{" + tensor("t", "F32", "[0]", "[0,0]") + "}"));
  add("valid_empty_2_32_times", safetensors("{" + tensor("t", "F32", "[0,4294967296,4294967296]", "[0,0]") + "}"));
  add("valid_empty_largest", safetensors("{" + tensor("t", "F32", "[9223372036854775807,0]", "[0,0]") + "}"));
  add("valid_empty_first", safetensors("{" + tensor("z", "U8", "[0]", "[0,0]") + "," + a + "}", "aaaa"));
  add("valid_empty_between", safetensors("{" + a + "," + tensor("z", "U8", "[3,0]", "[4,4]") + "," + b + "}", "aaaabbbb"));
  add("valid_empty_last_twice",
      safetensors("{" + a + "," + tensor("y", "U8", "[0]", "[4,4]") + "," + tensor("z", "I64", "[0]", "[4,4]") + "}", "aaaa"));
  add("valid_ones", shaped("[" + times(999, "1,") + "1]"));
  add("valid_name_empty", safetensors("{" + tensor("", "U8", "[1]", "[0,1]") + "}", "x"));
  add("valid_name_nul", safetensors("{" + tensor("a\\u0000b", "U8", "[1]", "[0,1]") + "," + tensor("a", "U8", "[1]", "[1,2]") + "}", "xy"));
  add("valid_name_unicode", safetensors("{" + tensor("\xc3\xa9\xf0\x9f\x90\x8d", "U8", "[1]", "[0,1]") + "}", "x"));
  add("valid_name_surrogates", safetensors("{" + tensor("\\ud83d\\udc0d", "U8", "[1]", "[0,1]") + "}", "x"));
  add("valid_name_100000", safetensors("{" + tensor(times(100'000, "n"), "U8", "[1]", "[0,1]") + "}", "x"));
  add("valid_dtype_by_escape", safetensors("{" + tensor("t", "\\u0055\\u0038", "[1]", "[0,1]") + "}", "x"));
  add("valid_unaligned", safetensors("{" + tensor("t", "F64", "[1]", "[1,9]") + "," + tensor("u", "U8", "[1]", "[0,1]") + "}", zeros(9)));
  add("valid_f4", safetensors("{" + tensor("t", "F4", "[3,2]", "[0,3]") + "}", zeros(3)));
  add("valid_f6", safetensors("{" + tensor("t", "F6_E3M2", "[4]", "[0,3]") + "}", zeros(3)));
  add("valid_nan", safetensors("{" + tensor("t", "F32", "[1]", "[0,4]") + "}", "\xff\xff\xff\xff"));
  std::string types, many;
  std::uint64_t end = 0;
  for (auto const& [name, bits] : coterie::io::stored_names) {
    std::uint64_t const begin = end;
    end += static_cast<std::uint64_t>(bits);
    types += (begin ? "," : "") + tensor(std::string(name), std::string(name), "[8]", "[" + std::to_string(begin) + "," + std::to_string(end) + "]");
  }
  add("valid_every_type", safetensors("{" + types + "}", zeros(static_cast<int>(end))));
  for (int i = 0; i < 10'000; ++i)
    many += (i ? "," : "") + tensor("model.layers." + std::to_string(i), "U8", "[1]",
                                    "[" + std::to_string(9999 - i) + "," + std::to_string(10'000 - i) + "]");
  add("valid_10000_reversed", safetensors("{" + many + "}", zeros(10'000)));

  auto const index = [&](std::string name, std::string bytes, std::vector<std::pair<std::string, std::string>> beside) {
    all.push_back({Kind::index, std::move(name), std::move(bytes), "", std::move(beside)});
  };
  std::string const one = safetensors("{" + tensor("a", "U8", "[1]", "[0,1]") + "," + tensor("c", "U8", "[1]", "[1,2]") + "}", "AC");
  std::string const two = safetensors("{" + tensor("b", "U8", "[1]", "[0,1]") + "}", "B");
  std::string const map = R"("weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"1.safetensors"})";
  index("valid_index", R"({"metadata":{"total_size":3},)" + map + "}", {{"1.safetensors", one}, {"2.safetensors", two}});
  index("valid_index_bare", "{" + map + "}\n", {{"1.safetensors", one}, {"2.safetensors", two}});
  index("valid_index_other_fields", "{" + map + R"(,"x":{"weight_map":{"q":[1,{}]}},"y":[[null]],"metadata":null})",
        {{"1.safetensors", one}, {"2.safetensors", two}});
  index("valid_index_empty", R"({"weight_map":{}})", {});

  all.push_back({Kind::config, "valid_config", good_config});
  std::string deep = good_config;
  deep.insert(1, "\"x\":" + times(63, "[") + times(63, "]") + ",");
  all.push_back({Kind::config, "valid_config_64_levels", deep});
  std::string wide = good_config;
  wide.insert(1, "\"\":[" + times(200'000, "0,") + "-1e-400],\"n\":-9223372036854775808,\"m\":18446744073709551616,");
  all.push_back({Kind::config, "valid_config_200000_values", wide});
  return all;
}

std::string write(Case const& c, std::string const& folder) {
  namespace fs = std::filesystem;
  fs::path const home = fs::path(folder) / c.name;
  auto const put = [&](std::string const& name, std::string const& bytes) {
    fs::create_directories((home / name).parent_path());
    std::ofstream(home / name, std::ios::binary) << bytes;
    return (home / name).string();
  };
  for (auto const& [name, bytes] : c.beside) put(name, bytes);
  std::string const path = put(c.kind == Kind::safetensors ? "model.safetensors"
                               : c.kind == Kind::index     ? "model.safetensors.index.json"
                                                           : "config.json",
                               c.bytes);
  if (c.grow_to) fs::resize_file(path, c.grow_to);
  return path;
}

void open(Kind kind, std::string const& path) {
  if (kind == Kind::safetensors) coterie::Safetensors{path};
  else if (kind == Kind::index) coterie::ShardedSafetensors{path};
  else read_config(coterie::Json::read(path));
}

void read_config(coterie::Json const& config) {
  (void)config.at("model_type").string();
  (void)config.at("hidden_size").integer();
  (void)config.number_or("rope_theta", 1e6);
  (void)config.boolean_or("norm_topk_prob", false);
  coterie::Json const text = config.at("text_config");
  (void)text.at("num_experts").integer();
  coterie::Json const types = text.at("layer_types");
  if (types.kind() != coterie::JsonKind::array) types.reject(std::string("got ") + describe(types.kind()) + ", want an array");
  for (coterie::Json const layer : types) (void)layer.string();
}

}
