// One Config's router, used by two files.
#include <coterie/cuda.cuh>
#include <cstdio>

namespace ct = coterie;
constexpr ct::Config mini{.experts = 4, .top_k = 2, .hidden = 64, .ffn = 64, .dtype = ct::DType::fp32, .weights = ct::DType::fp32, .router = {.weights = ct::DType::fp32}};
std::string first(), second();

// The error of a call with pointers that nothing is read through: no kernel starts.
inline std::string refusal(ct::Cuda const& on) {
  static float x[64];
  static std::int32_t expert[2];
  static float weight[2];
  alignas(256) static std::byte packed[256], scratch[1 << 14];
  try {
    ct::Router<mini, ct::Cuda>{}(on, {.x = {x, 1}}, {.data = packed}, {.expert = {expert, 1}, .weight = {weight, 1}}, scratch);
  } catch (ct::Error const& e) {
    return e.what();
  }
  return "nothing is refused";
}
