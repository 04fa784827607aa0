// Layers of published models, made but not run: their sizes are known without their weights.
#include <coterie/coterie.hpp>
#include <cstdio>
namespace ct = coterie;

constexpr ct::Config narrow = [] {
  ct::Config c = ct::presets::mixtral_8x7b;
  c.hidden = 256;
  return c;
}();

template <ct::Config C> int check(char const* name) {
  static constexpr ct::Config config = C;
  ct::Host const on{.threads = 1};
  ct::Layer<config, ct::Host> const layer{ct::PackedView<config, ct::Host>{}};
  std::size_t const seven = layer.workspace_bytes(on, 7), thousand = layer.workspace_bytes(on, 1000);
  // At least the batch's maps and the experts' output; the rows of a thousand tokens are many times those of seven.
  bool const ok = seven >= static_cast<std::size_t>(7 * ct::slots(C) * 8) && thousand > 20 * seven && sizeof(ct::Weights<config>) > sizeof(void*) * C.experts;
  if (!ok) std::printf("presets: %s: %zu bytes for 7 tokens, %zu for 1000\n", name, seven, thousand);
  return !ok;
}

int main() {
  int failures = 0;
  failures += check<ct::presets::mixtral_8x7b>("mixtral_8x7b");
  failures += check<ct::presets::deepseek_v3>("deepseek_v3");
  failures += check<ct::presets::llama4_scout>("llama4_scout");
  failures += check<ct::presets::longcat_flash>("longcat_flash");
  failures += check<ct::presets::switch_base>("switch_base");
  failures += check<ct::presets::gpt_oss_120b>("gpt_oss_120b");
  failures += check<narrow>("narrow");
  std::printf("presets: %d failures\n", failures);
  return failures != 0;
}
