// What examples/02_footprint.cpp prints: every number comes from coterie::footprint, every verdict from the numbers.
#pragma once
#include <coterie/footprint.hpp>
#include <cstdio>
#include <string>

namespace report {

namespace ct = coterie;
using Tokens = std::int64_t;

struct Storage { char const* text; ct::DType type; ct::QuantConfig quant; };
inline constexpr Storage storages[] = {
  {.text = "fp32", .type = ct::DType::fp32, .quant = {}},
  {.text = "bf16", .type = ct::DType::bf16, .quant = {}},
  {.text = "fp8, 128x128 blocks", .type = ct::DType::fp8_e4m3, .quant = {.group = 128, .group_rows = 128}},
  {.text = "int8, groups of 128", .type = ct::DType::int8, .quant = {.group = 128}},
  {.text = "int4, groups of 128", .type = ct::DType::int4, .quant = {.group = 128}},
  {.text = "mxfp4", .type = ct::DType::mxfp4, .quant = {.group = 32}},
};

inline std::string text(char const* format, double a) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, a);
  return buffer;
}
inline std::string billions(double n) {
  if (n == 0) return "none";
  return text(n < 1e9 ? "%.3f B" : n < 1e11 ? "%.1f B" : "%.0f B", n / 1e9);
}

// So many of one device, ideally pooled: as many as hold the weights.
struct Pool { int devices; ct::Machine machine; };
inline Pool pool(ct::Footprint const& f, ct::Machine const& one) {
  int const n = one.memory_bytes > 0 ? int(f.weight_bytes() / one.memory_bytes) + 1 : 1;
  ct::Machine all = one;
  all.flops_per_second *= n; all.bytes_per_second *= n; all.watts *= n;
  return {.devices = n, .machine = all};
}

inline void parameters(ct::Footprint const& f) {
  ct::Config const& c = f.layer;
  std::printf("%s parameters, %s active (%.1f %%)\n", billions(double(f.total_parameters)).c_str(),
              billions(double(f.active_parameters)).c_str(), 100.0 * double(f.active_parameters) / double(f.total_parameters));
  std::printf("  routed experts %s, shared %s, router %s, rest %s\n", billions(double(f.expert_parameters)).c_str(),
              billions(double(f.shared_parameters)).c_str(), billions(double(f.router_parameters)).c_str(),
              billions(double(f.other_parameters)).c_str());
  std::printf("  active without the input embedding %s, without both embeddings %s\n",
              billions(double(f.active_without_input_embedding())).c_str(), billions(double(f.active_without_embeddings())).c_str());
  if (c.experts) std::printf("  %d of %d layers have %d experts of %d x %d, %d per token\n", f.moe_layers, f.layers, c.experts,
                             ct::width(c), c.ffn, c.top_k);
}

inline void memory(ct::Footprint const& f, ct::Machine const& m) {
  if (f.layer.experts == 0) {
    std::printf("\nMemory of the weights: %.1f GB\n", f.weight_bytes() / 1e9);
    return;
  }
  std::puts("\nMemory of the weights, experts stored as (the rest as configured)");
  for (Storage const& s : storages) {
    ct::Footprint stored = f;
    stored.layer.weights = s.type;
    stored.layer.quant = s.quant;
    std::printf("  %-20s %9.1f GB   an expert is compute-bound on %s from %.0f tokens\n", s.text, stored.weight_bytes() / 1e9,
                m.name, ct::ridge_tokens_per_expert(stored, m));
  }
}

inline void one_token(ct::Footprint const& f, ct::Machine const& m) {
  auto const same_active = ct::dense_footprint(f.active_parameters, f), same_total = ct::dense_footprint(f.total_parameters, f);
  std::puts("\nOne token                         GFLOP   + backward    GB read");
  auto const row = [](char const* what, ct::Footprint const& x) {
    std::printf("  %-28s %9.2f %11.2f %11.2f\n", what, x.flops(1) / 1e9, (x.flops(1) + x.backward_flops(1)) / 1e9, x.bytes(1) / 1e9);
  };
  row("this", f);
  row("dense of the active size", same_active);
  row("dense of the total size", same_total);
  if (f.layer.experts == 0) return;
  std::printf("  expert parallelism over 8 ranks: %.1f kB leave per token, %.1f kB with one row per rank\n",
              f.all_to_all_bytes(1, 8) / 1e3, f.all_to_all_bytes(1, 8, ct::Exchange::every_rank) / 1e3);
  Tokens const ridge = ct::ridge_tokens(f, m);
  std::printf("  as configured, the whole turns from memory to compute bound on %s at %lld concurrent tokens (%.0f per expert)\n", m.name,
              static_cast<long long>(ridge), f.tokens_per_expert(ridge));
}

// From one user to many: what a token costs against the tokens that share the step.
inline void curve(ct::Footprint const& f, ct::Machine const& one, bool markdown) {
  Pool const p = pool(f, one);
  auto const same_active = ct::dense_footprint(f.active_parameters, f), same_total = ct::dense_footprint(f.total_parameters, f);
  std::printf("\nConcurrent tokens on %d x %s, ideally pooled (no exchange, no attention scores, no cache)\n%s", p.devices, one.name,
              markdown ? "\n| tokens | experts hit | bound by | ms per step | tokens/s | J/token | x dense of active | x dense of total |\n"
                         "|---:|---:|---|---:|---:|---:|---:|---:|\n"
                       : "  tokens  experts hit  bound by  ms per step    tokens/s   J/token   time against dense of active, total size\n");
  for (Tokens t = 1; t <= 16384; t *= 2) {
    double const seconds = ct::roofline(f, p.machine, t);
    bool const compute = f.flops(t) / p.machine.flops_per_second >= seconds;
    std::printf(markdown ? "| %lld | %.1f | %s | %.3f | %.0f | %.3f | %.2f | %.2f |\n"
                         : "  %6lld %12.1f  %-8s %12.3f %11.0f %9.3f %21.2f %12.2f\n",
                static_cast<long long>(t), f.experts_hit(t), compute ? "compute" : "memory", seconds * 1e3, double(t) / seconds,
                ct::joules(f, p.machine, t) / double(t), seconds / ct::roofline(same_active, p.machine, t),
                seconds / ct::roofline(same_total, p.machine, t));
  }
}

// ---- sentences people say

inline bool about(double got, double want, double tolerance = 0.15) {
  return got >= want * (1 - tolerance) && got <= want * (1 + tolerance);
}
inline void sentence(bool markdown, char const* claim, std::string const& verdict) {
  std::printf(markdown ? "* *%s*: %s\n" : "  \"%s\"\n      %s\n", claim, verdict.c_str());
}
// "holds at 1 (5.4x), 16384 (5.4x); not at 64 (1.5x)"
template <class Ratio, class Holds>
std::string by_tokens(Ratio ratio, Holds holds) {
  std::string yes, no;
  for (Tokens t : {Tokens{1}, Tokens{64}, Tokens{1024}, Tokens{16384}}) {
    std::string& to = holds(ratio(t)) ? yes : no;
    to += (to.empty() ? "" : ", ") + std::to_string(t) + text(" (%.1fx)", ratio(t));
  }
  if (yes.empty()) return "does not hold at " + no + " concurrent tokens";
  return "holds at " + yes + (no.empty() ? "" : "; not at " + no) + " concurrent tokens";
}
// Published models whose computed size and active size lie in the ranges.
inline std::string models_with(double least, double most, double least_active, double most_active) {
  std::string found, others;
  for (ct::Model const& m : ct::models::all) {
    auto const f = ct::footprint(m);
    double const total = double(f.total_parameters) / 1e9, active = double(f.active_without_input_embedding()) / 1e9;
    if (!ct::has_shape(m) || f.layer.experts == 0 || total < least || total > most) continue;
    std::string& to = active >= least_active && active <= most_active ? found : others;
    to += (to.empty() ? "" : ", ") + std::string(m.name) + text(" (%.0f B, ", total) + text("%.1f B active)", active);
  }
  return (found.empty() ? "holds for no model here" : "holds for " + found) + (others.empty() ? "" : "; not for " + others);
}

inline void sentences(ct::Footprint const& f, char const* name, ct::Machine const& one, bool markdown) {
  using namespace ct::models;
  ct::Footprint const mixtral = ct::footprint(mixtral_8x7b), llama = ct::footprint(llama2_70b);
  ct::Machine const both = pool(llama, one).machine;                           // the same devices for the two
  std::printf("\nWhat people say, and the figures (\"about\" is within 15 %%)%s\n", markdown ? "\n" : "");
  double const share = 100 * mixtral.flops(1) / llama.flops(1), total = double(mixtral.total_parameters) / 1e9;
  sentence(markdown, "Mixtral 8x7B takes 18 % of the compute of a 70B dense model",
           (about(share, 18) ? "holds: " : "does not hold: ") + text("%.1f %% of Llama 2 70B", share));
  sentence(markdown, "Mixtral 8x7B is about 6x faster than Llama 2 70B",
           by_tokens([&](Tokens t) { return ct::roofline(llama, both, t) / ct::roofline(mixtral, both, t); },
                     [](double r) { return about(r, 6); }));
  sentence(markdown, "8x7B is a 56B model",
           (about(total, 56, 0.05) ? "holds: " : "does not hold: ") + text("%.1f B, the experts share all but their FFNs", total));
  sentence(markdown, "600B with 30B active", models_with(510, 690, 25.5, 34.5));
  sentence(markdown, "a trillion with 50 to 100B active", models_with(850, 1200, 49.5, 100));
  if (f.layer.experts == 0) return;
  auto const small = ct::dense_footprint(f.active_parameters, f);
  ct::Machine const m = pool(f, one).machine;
  std::string const claim = std::string("the speed of the small model, the memory of the large one (") + name + ")";
  sentence(markdown, claim.c_str(),
           "memory: " + text("%.1fx the small one's", f.weight_bytes() / small.weight_bytes()) +
           "; speed, as time over the small one's: " +
           by_tokens([&](Tokens t) { return ct::roofline(f, m, t) / ct::roofline(small, m, t); }, [](double r) { return r < 1.15; }));
  for (ct::Model const& each : all)
    if (!ct::has_shape(each))
      sentence(markdown, each.name, (each.published.status == ct::Status::rumoured ? "rumoured, cannot be checked: " : "undisclosed: ") +
                                        std::string(each.published.note));
}

inline void all_models(ct::Machine const& m) {
  std::printf("\n| model | layers (MoE) | experts | top-k | total B | active B | without embeddings B | GB | GB, int4 experts "
              "| tokens to compute-bound (%s) | published B, total / active |\n"
              "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n", m.name);
  for (ct::Model const& each : ct::models::all) {
    if (!ct::has_shape(each)) continue;
    ct::Footprint const f = ct::footprint(each);
    ct::Published const& p = each.published;
    std::printf("| %s | %d (%d) | %d | %d | %.2f | %.2f | %.2f | %.1f | %.1f | %lld | %s / %s |\n", each.name, f.layers,
                f.moe_layers, f.layer.experts, f.layer.top_k, double(f.total_parameters) / 1e9, double(f.active_parameters) / 1e9,
                double(f.active_without_embeddings()) / 1e9, f.weight_bytes() / 1e9,
                f.weight_bytes(ct::DType::int4, {.group = 128}) / 1e9, static_cast<long long>(ct::ridge_tokens(f, m)),
                p.total > 0 ? text("%g", p.total).c_str() : "-", p.active > 0 ? text("%g", p.active).c_str() : "-");
  }
}

}
