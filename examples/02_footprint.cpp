// What does a model cost before anybody buys a GPU?    footprint [model] [--machine name] [--markdown] [--list]
// The numbers are coterie::footprint's, constexpr: the two static_asserts below are computed by the compiler.
#include "footprint_report.hpp"
#include <cstring>
#include <string_view>

namespace ct = coterie;

static_assert(ct::footprint(ct::models::mixtral_8x7b).total_parameters == 46'702'792'704);
static_assert(ct::footprint(ct::models::deepseek_v3).active_parameters == 37'552'297'472);

namespace {

ct::Model const* find_model(std::string_view name) {
  for (ct::Model const& m : ct::models::all) if (name == m.name) return &m;
  return nullptr;
}
ct::Preset const* find_preset(std::string_view name) {
  for (ct::Preset const& p : ct::presets::all) if (name == p.name) return &p;
  return nullptr;
}
ct::Machine const* find_machine(std::string_view name) {
  for (ct::Machine const& m : ct::machines::all) if (name == m.name) return &m;
  return nullptr;
}

void list() {
  std::puts("models:");
  for (ct::Model const& m : ct::models::all) std::printf("  %s\n", m.name);
  std::puts("layers that no model above uses:");
  for (ct::Preset const& p : ct::presets::all) if (!find_model(p.name)) std::printf("  %s\n", p.name);
  std::puts("machines:");
  for (ct::Machine const& m : ct::machines::all)
    std::printf("  %-10s %6.1f TFLOP/s bf16, %4.2f TB/s, %3.0f GB, %3.0f W (data sheet)\n", m.name, m.flops_per_second / 1e12,
                m.bytes_per_second / 1e12, m.memory_bytes / 1e9, m.watts);
}

int unknown(char const* what, char const* name) {
  std::fprintf(stderr, "footprint: no %s named '%s'; --list prints them\n", what, name);
  return 2;
}

}

int main(int count, char** arguments) {
  char const* name = "mixtral_8x7b";
  ct::Machine machine = ct::machines::h200;
  bool markdown = false;
  for (int i = 1; i < count; ++i) {
    if (!std::strcmp(arguments[i], "--list")) return list(), 0;
    if (!std::strcmp(arguments[i], "--markdown")) { markdown = true; continue; }
    if (!std::strcmp(arguments[i], "--machine")) {
      char const* const wanted = i + 1 < count ? arguments[++i] : "";
      ct::Machine const* const found = find_machine(wanted);
      if (!found) return unknown("machine", wanted);
      machine = *found;
      continue;
    }
    name = arguments[i];
  }

  ct::Model const* const model = find_model(name);
  ct::Preset const* const preset = find_preset(name);
  if (!model && !preset) return unknown("model or preset", name);
  ct::Footprint const f = model ? ct::footprint(*model) : ct::footprint(preset->layer);

  std::printf("%s%s%s\n", markdown ? "## " : "", name, model ? "" : " (one layer)");
  if (model && model->published.note[0]) std::printf("%s\n", model->published.note);
  if (model && !ct::has_shape(*model)) {
    if (f.total_parameters) std::printf("rumoured total: %s\n", report::billions(double(f.total_parameters)).c_str());
    return 0;
  }
  if (markdown) {
    report::all_models(machine);
  } else {
    report::parameters(f);
    report::memory(f, machine);
    report::one_token(f, machine);
  }
  report::curve(f, machine, markdown);
  report::sentences(f, name, machine, markdown);
}
