// Kernels of combine: a block per token sums the rows of its slots in fixed order, 16 bytes at a time, and mixes the shared experts in.
#pragma once
#include "../device/product.cuh"
#include "../device/wide.cuh"
#include "../router/math.hpp"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// What a token's slots hold, in the order in which they are added.
template <int S> struct CombineSlots {
  std::int32_t expert[S], row[S], order[S];
  float weight[S];
  float dot[2][32];                              // of each warp
  double square[32];
};
struct Mix { float routed = 1, shared = 1; };

template <Config C> struct CombineWork {
  using V = element_t<C.dtype>;
  Rows<V const, C.hidden> x;
  Rows<std::int32_t const, slots(C)> expert, slot;
  Rows<float const, slots(C)> weight;
  Rows<V const, width(C)> out;
  Rows<V const, C.hidden> shared;
  Rows<V, C.hidden> y;
  float const *mix_vectors, *mix_bias, *norm;
  std::byte const* header;
  V* z;                                          // [T,pitch W] latent sums
  Mix* mix;                                      // [T], for the product that leaves the latent width
  float* sums = nullptr;                         // [T,W] latent sums before their norm, to be kept; null: not
};

template <Config C> COTERIE_DEVICE float mixed(float routed, float shared, Mix const& mix) {
  using V = element_t<C.dtype>;
  if constexpr (C.combine == Accumulate::model) return rounded<V>(rounded<V>(mix.routed * routed) + rounded<V>(mix.shared * shared));
  else return fmaf(mix.routed, routed, mix.shared * shared);
}

// Wide neighbouring floats, where rows of Wide values begin at multiples of 16 bytes.
template <int Wide> COTERIE_DEVICE void store_floats(float* to, float const (&from)[Wide]) {
  if constexpr (Wide % 4 == 0)
    for (int i = 0; i < Wide; i += 4) ptx::store16(to + i, make_uint4(__float_as_uint(from[i]), __float_as_uint(from[i + 1]), __float_as_uint(from[i + 2]), __float_as_uint(from[i + 3])));
  else
    for (int i = 0; i < Wide; ++i) to[i] = from[i];
}

// The latent width's product to y, mixed with the shared experts.
template <class Stage> struct StoreLatent {
  static constexpr Config config = Stage::config;
  using To = element_t<config.dtype>;
  static constexpr int paired = 0;
  Rows<To, config.hidden> y;
  Rows<To const, config.hidden> shared;
  Mix const* mix;
  int columns = config.hidden;
  COTERIE_DEVICE float value(int, std::int64_t row, int column, float sum) const {
    if (column >= columns) return 0;             // asked for beside a column that is stored
    float const v = rounded<To>(sum);
    if constexpr (config.shared.ffn > 0) return mixed<config>(v, to_float(shared[row][column]), mix[row]);
    else return v;
  }
  COTERIE_DEVICE To* at(std::int64_t row, int column) const { return y[row] + column; }
  COTERIE_DEVICE bool even() const { return (reinterpret_cast<std::uintptr_t>(y.data) / sizeof(To) | static_cast<std::uintptr_t>(y.stride)) % 2 == 0; }
};

template <class Stage, int Wide> struct CombineKernel {
  static constexpr Config config = Stage::config;
  using V = element_t<config.dtype>;
  using Work = CombineWork<config>;
  static constexpr int S = slots(config), W = width(config), threads = 128, warps = threads / 32;
  using Slots = CombineSlots<S>;
  static constexpr bool model = config.combine == Accumulate::model;
  static constexpr bool learned_mix = config.shared.ffn > 0 && (config.shared.mix == SharedMix::sigmoid_gate || config.shared.mix == SharedMix::coefficients);
  static constexpr int mix_vectors = !learned_mix ? 0 : config.shared.mix == SharedMix::coefficients ? 2 : 1;

  // Finds slot i its place by expert, in ascending order, as an index_add over experts adds.
  COTERIE_DEVICE static void place(Slots& s, int i) {
    int before = 0;
    for (int k = 0; k < S; ++k) before += s.expert[k] < s.expert[i] || (s.expert[k] == s.expert[i] && k < i);
    s.order[before] = i;
  }
  // Number i of those that are added.
  COTERIE_DEVICE static int slot_of(Slots const& s, int i) { return model ? s.order[i] : i; }
  // Wide columns of the routed sum of token t. Up to eight slots' rows are asked for before any is used, then added in order.
  COTERIE_DEVICE static void routed_sum(Work const& w, Slots const& s, std::int64_t t, int column, float (&sum)[Wide]) {
    constexpr int rounds = (S + 7) / 8, at_once = (S + rounds - 1) / rounds;
    for (int j = 0; j < Wide; ++j) sum[j] = 0;
#pragma unroll 1
    for (int first = 0; first < S; first += at_once) {
      Wides<V, Wide> rows[at_once]{};
      bool has[at_once];
#pragma unroll
      for (int i = 0; i < at_once; ++i) {
        if (has[i] = first + i < S; !has[i]) continue;
        int const slot = slot_of(s, first + i);
        bool const identity = s.expert[slot] >= config.experts && s.expert[slot] < config.experts + config.expert.identity;
        if (has[i] = s.row[slot] >= 0 || identity; has[i]) rows[i] = load_stored<Wide>((s.row[slot] >= 0 ? w.out[s.row[slot]] : w.x[t]) + column);
      }
#pragma unroll
      for (int i = 0; i < at_once; ++i) {
        if (!has[i]) continue;
        float const weight = config.router.place == Place::input ? 1.f : s.weight[slot_of(s, first + i)];
        for (int j = 0; j < Wide; ++j) {
          float const v = to_float(rows[i].v[j]);
          sum[j] = model ? rounded<V>(sum[j] + rounded<V>(weight * v)) : fmaf(weight, v, sum[j]);
        }
      }
    }
    if constexpr (config.router.scale_on == ScaleOn::routed_sum && config.router.scale != 1)
      for (int j = 0; j < Wide; ++j) sum[j] = model ? rounded<V>(sum[j] * config.router.scale) : sum[j] * config.router.scale;
  }

  // Of a token's dot product with a vector that weighs its shared experts, the part of warp `part` of a block. A warp calls.
  COTERIE_DEVICE static float mix_part(float const* vector, V const* x, int part) {
    float dot = 0;
    for (int h = part * 32 + static_cast<int>(threadIdx.x % 32); h < config.hidden; h += threads) dot = fmaf(vector[h], to_float(x[h]), dot);
    for (int by = 16; by > 0; by /= 2) dot += __shfl_xor_sync(~0u, dot, by);
    return dot;
  }
  // part(m, i): part i of the dot product with vector m.
  template <class Part> COTERIE_DEVICE static Mix mix_of_parts(float const* bias, Part const& part) {
    float dot[mix_vectors];
    for (int m = 0; m < mix_vectors; ++m) {
      dot[m] = bias[m];
      for (int i = 0; i < warps; ++i) dot[m] += part(m, i);
    }
    if constexpr (mix_vectors == 1) {
      return {1, math::sigmoid(dot[0])};
    } else {
      float const top = dot[0] > dot[1] ? dot[0] : dot[1], a = math::exp(dot[0] - top), b = math::exp(dot[1] - top);
      return {a / (a + b), b / (a + b)};
    }
  }
  // How the routed sum and the shared experts are weighed for this token. All threads call.
  COTERIE_DEVICE static Mix mix_of(Work const& w, Slots& s, V const* x) {
    if constexpr (config.shared.mix == SharedMix::average) {
      return {0.5f, 0.5f};
    } else if constexpr (!learned_mix) {
      return {};
    } else {
      int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
      for (int m = 0; m < mix_vectors; ++m) {
        float const dot = mix_part(w.mix_vectors + m * config.hidden, x, warp);
        if (lane == 0) s.dot[m][warp] = dot;
      }
      COTERIE_SYNC("combine: dots of the warps", __syncthreads());
      return mix_of_parts(w.mix_bias, [&](int m, int i) { return s.dot[m][i]; });
    }
  }

  // 1 / root mean square of the latent sums. All threads call.
  COTERIE_DEVICE static float norm_factor(Work const& w, Slots& s, std::int64_t t) {
    double square = 0;
    for (int c = static_cast<int>(threadIdx.x) * Wide; c < W; c += threads * Wide) {
      float sum[Wide];
      routed_sum(w, s, t, c, sum);
      for (int j = 0; j < Wide; ++j) square += double{sum[j]} * double{sum[j]};
    }
    for (int by = 16; by > 0; by /= 2) square += __shfl_xor_sync(~0u, square, by);
    if (threadIdx.x % 32 == 0) s.square[threadIdx.x / 32] = square;
    COTERIE_SYNC("combine: squares of the warps", __syncthreads());
    square = 0;
    for (int i = 0; i < warps; ++i) square += s.square[i];
    float const epsilon = reinterpret_cast<typename PackedLayout<config>::Header const*>(w.header)->latent_epsilon;
    return static_cast<float>(1 / sqrt(square / W + double{epsilon}));
  }

  COTERIE_DEVICE static void run(Work const& w) {
    Slots& s = ptx::dynamic_shared<Slots>();
    std::int64_t const t = blockIdx.x;
    V const* const x = w.x[t];
    COTERIE_SYNC("combine: the kernel ahead", ptx::grid_dependency_wait());
    ptx::grid_dependency_launch();
    for (int i = static_cast<int>(threadIdx.x); i < S; i += threads) s.expert[i] = w.expert[t][i], s.row[i] = w.slot[t][i], s.weight[i] = w.weight[t][i];
    if constexpr (model) {
      COTERIE_SYNC("combine: slots are loaded", __syncthreads());
      for (int i = static_cast<int>(threadIdx.x); i < S; i += threads) place(s, i);
    }
    if constexpr (!learned_mix) COTERIE_SYNC("combine: slots are known", __syncthreads());             // a learned mix has a barrier of its own
    Mix mix;
    if constexpr (config.shared.ffn > 0) mix = mix_of(w, s, x);
    if constexpr (config.expert.latent > 0) {
      constexpr std::int64_t pitch = PackedLayout<config>::latent_up.pitch();
      float factor = 1;
      if constexpr (config.expert.latent_norm == LatentNorm::rms) factor = norm_factor(w, s, t);
      for (int c = static_cast<int>(threadIdx.x) * Wide; c < W; c += threads * Wide) {
        float sum[Wide];
        routed_sum(w, s, t, c, sum);
        if (w.sums) store_floats<Wide>(w.sums + t * W + c, sum);
        if constexpr (config.expert.latent_norm == LatentNorm::rms)
          for (int j = 0; j < Wide; ++j) sum[j] = sum[j] * factor * w.norm[c + j];
        store_wide<Wide>(w.z + t * pitch + c, sum);
      }
      for (int c = W + static_cast<int>(threadIdx.x); c < pitch; c += threads) w.z[t * pitch + c] = V{};
      if (config.shared.ffn > 0 && threadIdx.x == 0) w.mix[t] = mix;
    } else {
      for (int c = static_cast<int>(threadIdx.x) * Wide; c < W; c += threads * Wide) {
        float sum[Wide];
        routed_sum(w, s, t, c, sum);
        if constexpr (config.shared.ffn > 0) {
          float v[Wide];
          load_wide<Wide>(w.shared[t] + c, v);
          for (int j = 0; j < Wide; ++j) sum[j] = mixed<config>(sum[j], v[j], mix);
        }
        store_wide<Wide>(w.y[t] + c, sum);
      }
    }
  }
};
template <class Kernel> __global__ void __launch_bounds__(Kernel::threads) combine_kernel(typename Kernel::Work const w) { Kernel::run(w); }

}}}}
