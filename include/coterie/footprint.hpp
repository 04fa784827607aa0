// What a configuration costs: parameters, bytes, FLOPs, traffic, and the time and energy physics allows.
// Attention scores and the key/value cache depend on the context and are not in here.
#pragma once
#include "dtype.hpp"
#include "presets.hpp"

namespace coterie { inline namespace v0 {

// What one device can do. Zero: unknown.
struct Machine {
  double flops_per_second = 0, bytes_per_second = 0, watts = 0;
  double memory_bytes = 0, link_bytes_per_second = 0;      // link: one direction, all links of one device
  char const* name = "";
};

// Data sheets' peaks: dense bf16 with fp32 accumulation, memory bandwidth, board power, capacity, one direction of the link
// (NVLink, Infinity Fabric; PCIe 4.0 x16 for the RTX 4090). The A100 is the SXM board with 80 GB.
namespace machines {
inline constexpr Machine h200{.flops_per_second = 989.4e12, .bytes_per_second = 4.8e12, .watts = 700, .memory_bytes = 141e9,
  .link_bytes_per_second = 450e9, .name = "h200"};
inline constexpr Machine h100_sxm{.flops_per_second = 989.4e12, .bytes_per_second = 3.35e12, .watts = 700, .memory_bytes = 80e9,
  .link_bytes_per_second = 450e9, .name = "h100_sxm"};
inline constexpr Machine a100{.flops_per_second = 312e12, .bytes_per_second = 2.039e12, .watts = 400, .memory_bytes = 80e9,
  .link_bytes_per_second = 300e9, .name = "a100"};
inline constexpr Machine mi300x{.flops_per_second = 1307.4e12, .bytes_per_second = 5.3e12, .watts = 750, .memory_bytes = 192e9,
  .link_bytes_per_second = 448e9, .name = "mi300x"};
inline constexpr Machine rtx4090{.flops_per_second = 165.2e12, .bytes_per_second = 1.008e12, .watts = 450, .memory_bytes = 24e9,
  .link_bytes_per_second = 32e9, .name = "rtx4090"};
inline constexpr Machine all[] = {h200, h100_sxm, a100, mi300x, rtx4090};
}

// Bytes of one [out, in] matrix as stored: values packed row by row, then scales (fp8: fp32, int8 and int4: 16 bits, mxfp4:
// e8m0 per 32) and zero points. quant.group 0: one scale per row.
constexpr std::int64_t matrix_bytes(std::int64_t out, std::int64_t in, DType d, QuantConfig q = {}) {
  std::int64_t const values = out * ((in * bits(d) + 7) / 8);
  if (is_float(d)) return values;
  if (d == DType::mxfp4) return values + out * ((in + 31) / 32);
  std::int64_t const group = q.group ? q.group : in;
  std::int64_t const groups = (in + group - 1) / group * ((out + q.group_rows - 1) / q.group_rows);
  std::int64_t const scale = d == DType::fp8_e4m3 || d == DType::fp8_e5m2 ? 4 : 2;
  return values + groups * scale + (q.zero_points ? (groups * bits(d) + 7) / 8 : 0);
}

// How a layer's rows travel between ranks: one per choice (all-to-all-v), or one per rank that any choice lands on.
enum class Exchange : int { every_choice, every_rank };

struct Footprint {
  std::int64_t router_parameters = 0, expert_parameters = 0, shared_parameters = 0, other_parameters = 0;
  std::int64_t total_parameters = 0, active_parameters = 0;
  Config layer{};
  std::int64_t active_expert_parameters = 0;   // of one token; null experts take their share of the choices (uniform routing)
  std::int64_t embedding_parameters = 0, head_parameters = 0;      // both in other; the head is 0 when tied
  std::int64_t idle_parameters = 0;            // of other: not used by one token
  int layers = 1, moe_layers = 1, tied = 0;

  // Active parameters without the input table (a lookup), and without the head either: the figures vendors quote.
  constexpr std::int64_t active_without_input_embedding() const {
    return active_parameters - (tied ? 0 : embedding_parameters);
  }
  constexpr std::int64_t active_without_embeddings() const {
    return active_parameters - embedding_parameters - head_parameters;
  }

  // Multiply-adds count as two; the input embedding is read, not multiplied.
  constexpr double flops(std::int64_t tokens) const { return 2.0 * double(active_without_input_embedding()) * double(tokens); }
  // Both gradients: of the inputs and of the weights.
  constexpr double backward_flops(std::int64_t tokens) const { return 2 * flops(tokens); }

  // Expected distinct experts of one layer that any of the tokens selects, uniform routing.
  constexpr double experts_hit(std::int64_t tokens) const {
    if (layer.experts == 0) return 0;
    double miss = 1, base = 1 - double(layer.top_k) / candidates(layer);
    for (std::int64_t n = tokens; n; n >>= 1, base *= base) if (n & 1) miss *= base;
    return layer.experts * (1 - miss);
  }
  constexpr double tokens_per_expert(std::int64_t tokens) const {
    return layer.experts ? double(tokens) * layer.top_k / candidates(layer) : 0;
  }

  // Bytes of all routed experts if their matrices were stored so; biases keep the layer's dtype.
  constexpr double expert_bytes(DType stored, QuantConfig q = {}) const {
    std::int64_t const in = width(layer), ffn = layer.ffn, up = gated(layer.expert.act) ? 2 : 1;
    std::int64_t const biases = layer.expert.bias ? (up * ffn + in) * bits(layer.dtype) / 8 : 0;
    std::int64_t const one = up * matrix_bytes(ffn, in, stored, q) + matrix_bytes(in, ffn, stored, q) + biases;
    return double(one) * layer.experts * moe_layers;
  }
  constexpr double expert_bytes() const { return expert_bytes(layer.weights, layer.quant); }
  // Bytes of everything else; router and shared experts have their own types.
  constexpr double dense_bytes() const {
    return double(router_parameters) * bits(layer.router.weights) / 8 + double(shared_parameters) * bits(layer.shared.weights) / 8
         + double(other_parameters) * bits(layer.dtype) / 8;
  }
  // Memory that the weights need, as configured, or with the routed experts stored otherwise.
  constexpr double weight_bytes() const { return dense_bytes() + expert_bytes(); }
  constexpr double weight_bytes(DType stored, QuantConfig q = {}) const { return dense_bytes() + expert_bytes(stored, q); }

  // Bytes of weights that a step with so many tokens must read: the experts hit, the rest once, no lookup table.
  constexpr double read_bytes(std::int64_t tokens) const {
    if (tokens <= 0) return 0;
    double const hit = layer.experts ? experts_hit(tokens) / layer.experts : 1;
    double const one = layer.experts ? experts_hit(1) / layer.experts : 1;         // what one token uses of a mixture
    double const pool = one < 1 ? double(idle_parameters) / (1 - one) : 0;
    double const unread = double(tied ? 0 : embedding_parameters) + pool * (1 - hit);
    return dense_bytes() - unread * bits(layer.dtype) / 8 + expert_bytes() * hit;
  }
  // Every layer reads its input and writes its output once; a fused layer keeps the rest on the chip.
  constexpr double activation_bytes(std::int64_t tokens) const {
    return 2.0 * layers * layer.hidden * double(tokens) * bits(layer.dtype) / 8;
  }
  constexpr double bytes(std::int64_t tokens) const { return read_bytes(tokens) + activation_bytes(tokens); }
  // Reads x, dy and the weights hit, writes dx and their gradients in the layer's dtype.
  constexpr double backward_bytes(std::int64_t tokens) const {
    double const hit = layer.experts ? experts_hit(tokens) / layer.experts : 0;
    double const gradients = double(expert_parameters) * hit + double(total_parameters - expert_parameters);
    return tokens <= 0 ? 0 : read_bytes(tokens) + gradients * bits(layer.dtype) / 8 + 1.5 * activation_bytes(tokens);
  }

  // Rows of one layer that leave a token's rank, experts spread evenly over the ranks, uniform routing.
  constexpr double exchange_rows(int ranks, Exchange how = Exchange::every_choice) const {
    if (ranks <= 1 || layer.experts == 0) return 0;
    double const real = double(layer.top_k) * layer.experts / candidates(layer), elsewhere = double(ranks - 1) / ranks;
    if (how == Exchange::every_choice) return real * elsewhere;
    double const all = candidates(layer), here = double(layer.experts) / ranks;
    double miss = 1;                                                               // none of the distinct choices on one rank
    for (int k = 0; k < layer.top_k && miss > 0; ++k) miss *= all - here - k > 0 ? (all - here - k) / (all - k) : 0;
    return ranks * (1 - miss) * elsewhere;
  }
  // Bytes that leave the ranks for dispatch and combine, all MoE layers, rows in the layer's dtype.
  constexpr double all_to_all_bytes(std::int64_t tokens, int ranks, Exchange how = Exchange::every_choice) const {
    return 2 * double(tokens) * exchange_rows(ranks, how) * width(layer) * bits(layer.dtype) / 8 * moe_layers;
  }
};

// One layer.
constexpr Footprint footprint(Config const& c) {
  using Count = std::int64_t;
  Footprint f;
  f.layer = c;
  if (c.experts == 0) return f;
  Count const h = c.hidden, w = width(c), matrices = gated(c.expert.act) ? 3 : 2;
  Count const one = matrices * w * c.ffn + (c.expert.bias ? (matrices - 1) * Count{c.ffn} + w : 0);
  bool const learned = c.router.input == RouterInput::hidden || c.router.input == RouterInput::separate;
  f.router_parameters = (learned ? h * logit_columns(c) * (c.router.noise == Noise::softplus ? 2 : 1) : 0)
                      + (c.router.bias ? logit_columns(c) : 0) + (c.router.select_bias ? candidates(c) : 0)
                      + (c.router.expert_scale ? c.experts : 0);
  f.expert_parameters = one * c.experts;
  f.active_expert_parameters = one * c.top_k * c.experts / candidates(c);
  f.shared_parameters = matrices * h * c.shared.ffn;
  if (c.shared.ffn && c.shared.mix == SharedMix::sigmoid_gate) f.shared_parameters += h;
  if (c.shared.ffn && c.shared.mix == SharedMix::coefficients) f.shared_parameters += 2 * h + 2;
  f.other_parameters = 2 * h * c.expert.latent + (c.expert.latent_norm == LatentNorm::rms ? c.expert.latent : 0);
  f.total_parameters = f.router_parameters + f.expert_parameters + f.shared_parameters + f.other_parameters;
  f.active_parameters = f.total_parameters - f.expert_parameters + f.active_expert_parameters;
  return f;
}

// Whether enough is known of a model to compute anything.
constexpr bool has_shape(Model const& m) { return m.layers > 0 && m.layer.hidden > 0; }

// A whole model: the parts are sums over its layers. Without a shape only the published totals are filled in.
constexpr Footprint footprint(Model const& m) {
  using Count = std::int64_t;
  Footprint f = footprint(m.layer);
  if (!has_shape(m)) {
    f = {};
    f.layer = m.layer;
    f.total_parameters = Count(m.published.total * 1e9);
    f.active_parameters = Count(m.published.active * 1e9);
    return f;
  }
  Count const h = m.layer.hidden;
  Count const heads = 2 * h * m.head_dim * (Count{m.heads} + m.kv_heads) * m.layers;
  Count const mixers = m.mixer_parameters ? m.mixer_parameters : heads;
  Count const ffns = (m.dense_layers < 0 ? m.layers - m.moe_layers : m.dense_layers) * m.dense_matrices * h * m.dense_ffn;
  f.layers = m.layers;
  f.moe_layers = m.moe_layers;
  f.tied = m.tied;
  f.embedding_parameters = m.vocabulary * h;
  f.head_parameters = m.tied ? 0 : f.embedding_parameters;
  f.idle_parameters = m.idle_parameters;
  f.router_parameters *= m.moe_layers;
  f.expert_parameters *= m.moe_layers;
  f.active_expert_parameters *= m.moe_layers;
  f.shared_parameters *= m.moe_layers;
  f.other_parameters = f.other_parameters * m.moe_layers + mixers + ffns + m.layers * m.norms * h + h + m.extra_parameters
                     + f.embedding_parameters + f.head_parameters;
  f.total_parameters = f.router_parameters + f.expert_parameters + f.shared_parameters + f.other_parameters;
  f.active_parameters = f.total_parameters - f.expert_parameters + f.active_expert_parameters - m.idle_parameters;
  return f;
}

// A dense model of so many parameters, every one used by every token: the yardstick for the same active or total size.
constexpr Footprint dense_footprint(std::int64_t parameters, Footprint const& like) {
  Footprint f;
  f.layer.hidden = like.layer.hidden;
  f.layer.dtype = like.layer.dtype;
  f.layers = like.layers;
  f.other_parameters = f.total_parameters = f.active_parameters = parameters;
  return f;
}

// Seconds that a step must take at least: arithmetic or memory, whichever is slower.
constexpr double roofline(Footprint const& f, Machine const& m, std::int64_t tokens) {
  double const compute = f.flops(tokens) / m.flops_per_second, memory = f.bytes(tokens) / m.bytes_per_second;
  return compute > memory ? compute : memory;
}
constexpr double joules(Footprint const& f, Machine const& m, std::int64_t tokens) { return m.watts * roofline(f, m, tokens); }

// Fewest tokens of one step at which arithmetic takes as long as memory; 0: no number of tokens is enough.
constexpr std::int64_t ridge_tokens(Footprint const& f, Machine const& m) {
  std::int64_t low = 0, high = std::int64_t{1} << 40;
  auto const bound = [&](std::int64_t t) { return f.flops(t) / m.flops_per_second >= f.bytes(t) / m.bytes_per_second; };
  if (!bound(high)) return 0;
  while (high - low > 1) (bound(low + (high - low) / 2) ? high : low) = low + (high - low) / 2;
  return high;
}
// Tokens that one expert needs for its own matrices to be compute-bound: 2 FLOPs per parameter against its bytes, read once.
constexpr double ridge_tokens_per_expert(Footprint const& f, Machine const& m) {
  if (f.expert_parameters == 0) return 0;
  return m.flops_per_second / m.bytes_per_second * f.expert_bytes() / double(f.expert_parameters) / 2;
}

}}
