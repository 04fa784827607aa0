// The bytes are a config.json: every value is visited with every getter, and accepted text means the same to nlohmann.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/config_json.cpp -o build/fuzz_config_json
//   build/accepts --write build/crafted          (tests/io/accepts.cpp makes the seeds)
//   mkdir -p build/corpus && build/fuzz_config_json -max_len=8192 -max_total_time=60 build/corpus build/crafted
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <coterie/io/json.hpp>

namespace {

using coterie::Json, coterie::JsonKind;

template <class Get> void attempt(Get get) {
  try {
    get();
  } catch (coterie::Error const&) {
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
  attempt([&] { (void)value.integer(); });
  attempt([&] { (void)value.number(); });
  attempt([&] { (void)value.boolean(); });
  attempt([&] { (void)value.string(); });
  attempt([&] { (void)value.at("a"); });
  attempt([&] { (void)value.integer_or("b", 1); });
  (void)value.path();
  for (Json const inner : value) visit(inner, left);
}

}

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  attempt([&] {
    Json const document = Json::parse(text, "fuzz");
    if (!same(document, nlohmann::json::parse(text))) std::abort();
    int left = 64;
    visit(document, left);
  });
  return 0;
}
