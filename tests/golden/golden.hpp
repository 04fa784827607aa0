// One family's golden: a small checkpoint made by the original implementation, what went into its MoE block and what came out.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>
#include <coterie/reference/weights.hpp>

namespace golden {

using namespace coterie;

// The folder of a family's golden.
std::string folder(std::string const& family);

// What goes into a layer, and what came out: fp32, whatever the layer's type.
struct Given {
  std::vector<float> x, router_x;      // [T,H]
  std::vector<std::int32_t> token_ids; // [T]
  std::int64_t sequence = 0;
};
struct Result {
  std::vector<std::int32_t> expert;    // [T,S]; -1: dropped
  std::vector<float> weight, y;        // [T,S], [T,H]
};

constexpr Config with_dtype(Config c, DType d) {
  c.dtype = d;
  return c;
}

template <Config C> Result compute(Checkpoint const& checkpoint, int layer, Given const& given) {
  using T = element_t<C.dtype>;
  Host const on{.threads = 1};
  auto const packed = load<C>(on, checkpoint, layer);
  auto const tokens = static_cast<std::int64_t>(given.x.size()) / C.hidden;
  auto const narrow = [](std::vector<float> const& wide) {
    std::vector<T> all(wide.size());
    std::transform(wide.begin(), wide.end(), all.begin(), [](float v) { return from_float<T>(v); });
    return all;
  };
  auto const x = narrow(given.x), router_x = narrow(given.router_x);
  std::vector<T> y(x.size(), from_float<T>(NAN));
  Inputs<C> in{.x = {x.data(), tokens}};
  in.sequence = given.sequence;
  if constexpr (C.router.input == RouterInput::separate) in.router_x = {router_x.data(), tokens};
  if constexpr (C.router.select == Select::table) in.token_ids = given.token_ids.data();

  Layer<C, Host> const layer_of{packed.view()};
  std::vector<std::byte> workspace(layer_of.workspace_bytes(on, tokens));
  layer_of.forward(on, in, rows<C.hidden>(y.data(), tokens), workspace);

  // The same routing once more, to look at; dispatch says who was dropped.
  Result r;
  r.expert.resize(static_cast<std::size_t>(tokens * slots(C)));
  r.weight.resize(r.expert.size()), r.y.resize(y.size());
  std::vector<std::int32_t> begin(C.experts + 1), token(r.expert.size()), slot(r.expert.size());
  std::vector<float> row_weight(r.expert.size());
  Routing<C> const routing{.expert = {r.expert.data(), tokens}, .weight = {r.weight.data(), tokens}};
  Batch<C> const batch{begin.data(), token.data(), row_weight.data(), {slot.data(), tokens}};
  Router<C, Host> const router;
  Dispatch<C, Host> const dispatch;
  workspace.resize(std::max(router.workspace_bytes(on, tokens), dispatch.workspace_bytes(on, tokens)));
  router(on, in, packed.view(), routing, workspace);
  dispatch(on, in, routing, batch, workspace);
  for (std::size_t i = 0; i < slot.size(); ++i)
    if (slot[i] < 0 && r.expert[i] < C.experts) r.expert[i] = -1;
  std::transform(y.begin(), y.end(), r.y.begin(), [](T v) { return to_float(v); });
  return r;
}

// A layer of one Config, so that what follows is compiled once.
struct Computed {
  Config config;
  Result (*run)(Checkpoint const&, int layer, Given const&);
};
template <Config C> Computed computed() { return {C, &compute<C>}; }

// The layer against a record in the family's folder: `dtype` begins the record's names.
void compare(std::string const& family, std::string const& record, std::string const& dtype, Computed const& layer);
// A quantised matrix as the original read it.
std::vector<float> read_by_original(std::string const& family, Part part, int expert);
// The layer on the record's fp32.x against `y` of another file in the family's folder, made by another implementation.
void compare_output(std::string const& family, std::string const& file, Computed const& layer);
// The layer of a checkpoint that is an MoE layer, the first.
int moe_layer(Checkpoint const& checkpoint);
// The stored weights as the definition wants them, by each layout's own formula and not by what load() does; quantised ones
// as the original read them.
reference::Weights stored_weights(Checkpoint const& checkpoint, ShardedSafetensors const& record, int layer, Config const& config);
// That config.json means what `config` says.
void same_meaning(std::string const& family, Config const& config);

// The whole of a family: what config.json means, fp32 and bf16 against the record.
template <Config C> void family(std::string const& name) {
  same_meaning(name, C);
  compare(name, "record.safetensors", "fp32", computed<with_dtype(C, DType::fp32)>());
  compare(name, "record.safetensors", "bf16", computed<C>());
}

}
