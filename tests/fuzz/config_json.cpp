// The bytes are a config.json: every value is visited with every getter, accepted text means the same to nlohmann, and
// every family reads its fields there. What is refused ends in Error, at the place that was handed in.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/config_json.cpp -o build/fuzz_config_json
//   build/accepts --write build/crafted          (tests/io/accepts.cpp makes the seeds)
//   mkdir -p build/corpus && build/fuzz_config_json -max_len=8192 -max_total_time=60 build/corpus build/crafted
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <coterie/io/config_text.hpp>
#include <coterie/io/families.hpp>

namespace {

using namespace coterie;

constexpr Where here{"fuzz", 1};

template <class Get> void attempt(Get get) {
  try {
    get();
  } catch (Error const& error) {
    std::string_view const text = error.what();
    if (text.size() > 8192 || !text.ends_with("(fuzz:1)")) std::abort();
  }
}

// Whether our value and nlohmann's are the same.
bool same(Json const& ours, nlohmann::json const& theirs) {
  switch (ours.kind()) {
    case JsonKind::null: return theirs.is_null();
    case JsonKind::boolean: return theirs.is_boolean() && theirs.get<bool>() == ours.boolean();
    case JsonKind::integer: return theirs.is_number_integer() && theirs.get<std::int64_t>() == ours.integer();
    case JsonKind::real: return theirs.is_number() && theirs.get<double>() == ours.number();
    case JsonKind::string: return theirs.is_string() && theirs.get_ref<std::string const&>() == ours.string();
    default: break;
  }
  if (theirs.size() != static_cast<std::size_t>(ours.size()) || theirs.is_object() != (ours.kind() == JsonKind::object)) return false;
  std::size_t i = 0;
  for (Json const value : ours)
    if (!same(value, theirs.is_object() ? theirs.at(value.key()) : theirs.at(i++))) return false;
  return true;
}

void visit(Json const& value, int& left) {
  if (--left < 0) return;
  attempt([&] { (void)value.integer(here); });
  attempt([&] { (void)value.number(here); });
  attempt([&] { (void)value.boolean(here); });
  attempt([&] { (void)value.string(here); });
  attempt([&] { (void)value.at("a", here); });
  attempt([&] { (void)value.integer_or("b", 1, here); });
  (void)value.path();
  for (Json const inner : value) visit(inner, left);
}

// What every family makes of it, at two layers; a Config that is taken can be printed and is what it says.
void read_families(Json const& document) {
  Json text = document;
  attempt([&] {
    if (auto const inner = document.find("text_config", here)) text = *inner;
  });
  for (std::span<io::Family const> const some : io::all_families)
    for (io::Family const& family : some)
      for (io::Fields::Layer const& layer : {io::Fields::Layer{}, io::Fields::Layer{.number = 1, .decoder = true, .table = true, .router = DType::fp32}})
        attempt([&] {
          Config const c = family.config(io::Fields(text, layer, here));
          if (source(c, "layer").empty() || describe(c).empty()) std::abort();
          check(c, c, here);
        });
}

}

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const bytes(reinterpret_cast<char const*>(data), size);
  attempt([&] {
    Json const document = Json::parse(bytes, "fuzz", {}, here);
    if (!same(document, nlohmann::json::parse(bytes))) std::abort();
    int left = 64;
    visit(document, left);
    read_families(document);
  });
  return 0;
}
