// What flows between the stages, and the bundle of stages a Layer runs.
#pragma once
#include <span>
#include "backend.hpp"
#include "weights.hpp"
#include "workspace.hpp"

namespace coterie { inline namespace v0 {

// Packed weights of one layer, in the backend's layout; made by Packer or pack(). A copy with another range of experts is
// a shard: the Experts stage computes those rows of the batch only.
template <Config C, class B>
struct PackedView {
  static constexpr Config config = C;
  std::byte const* data = nullptr;
  int first_expert = 0, experts = C.experts;
};

// Which experts each token goes to. expert: -1 none; [0,E) real; [E,E+identity) returns x; then skip, returns nothing.
template <Config C>
struct Routing {
  Rows<std::int32_t, slots(C)> expert{};                               // [T,S]
  Rows<float, slots(C)> weight{};                                      // [T,S]
  Rows<float, logit_columns(C)> logits{};                              // [T,N]; optional: filled when data is set
  Rows<float, shared_rows(C)> shared{};                                // [T,count]; SharedMix::router_rows
};

// What a layer reads. Only x is always needed; seed 0 means evaluation: no noise.
template <Config C>
struct Inputs {
  using T = element_t<C.dtype>;
  Rows<T const, C.hidden> x{};                                         // [T,H]
  Rows<T const, C.hidden> router_x{};                                  // [T,H]  RouterInput::separate
  Rows<float const, logit_columns(C)> logits{};                        // [T,N]  RouterInput::logits
  std::int32_t const* token_ids = nullptr;                             // [T]    Select::table
  Routing<C> routing{};                                                // [T,S]  RouterInput::given; Select::table: ids to replay
  std::int64_t sequence = 0;                                           // tokens per capacity group; 0: all
  std::uint64_t seed = 0;                                              // noise, Order::random
};

// Routed rows sorted by expert: maps only, no copy of x. Row r belongs to token[r]; slot[t][s] is its row, -1: none.
template <Config C>
struct Batch {
  std::int32_t* begin = nullptr;                                       // [E+1]; R = begin[E]
  std::int32_t* token = nullptr;                                       // [R]
  float* weight = nullptr;                                             // [R]
  Rows<std::int32_t, slots(C)> slot{};                                 // [T,S]
};

template <Config C, class B> struct Router   { static_assert(provided<B>, "coterie: this backend is not included (is #include <coterie/cuda.cuh> missing?)"); };
template <Config C, class B> struct Dispatch { static_assert(provided<B>, "coterie: this backend is not included (is #include <coterie/cuda.cuh> missing?)"); };
template <Config C, class B> struct Experts  { static_assert(provided<B>, "coterie: this backend is not included (is #include <coterie/cuda.cuh> missing?)"); };
template <Config C, class B> struct Combine  { static_assert(provided<B>, "coterie: this backend is not included (is #include <coterie/cuda.cuh> missing?)"); };
template <Config C, class B> struct Shared   { static_assert(provided<B>, "coterie: this backend is not included (is #include <coterie/cuda.cuh> missing?)"); };
template <Config C, class B> struct Latent   { static_assert(provided<B>, "coterie: this backend is not included (is #include <coterie/cuda.cuh> missing?)"); };

// The stages of a layer. Swap one by inheriting and hiding a member:
//   template <Config C> struct Mine : Stages<C, Host> { [[no_unique_address]] MyRouter<C> router; };
template <Config C, class B>
struct Stages {
  static constexpr Config config = C;
  [[no_unique_address]] Router<config, B> router{};                    // x -> Routing
  [[no_unique_address]] Dispatch<config, B> dispatch{};                // Routing -> Batch
  [[no_unique_address]] Experts<config, B> experts{};                  // x, Batch -> out[R,W]
  [[no_unique_address]] Combine<config, B> combine{};                  // out -> y
  [[no_unique_address]] Shared<config, B> shared{};                    // x -> shared[T,H], where the config has shared experts
  [[no_unique_address]] Latent<config, B> latent{};                    // x -> x[T,W], where the experts work at another width
};

template <class S, Config C, class B> struct pick_stages { using type = S; };
template <Config C, class B> struct pick_stages<void, C, B> {
  static constexpr Config config = C;
  using type = Stages<config, B>;
};

// What each stage must be callable with; scratch is at least its workspace_bytes(on, tokens).
template <class S, Config C, class B>
concept IsRouter = requires(S const s, B const& on, Inputs<C> const& in, PackedView<C, B> const& packed, Routing<C> const& routing, std::span<std::byte> scratch) {
  s(on, in, packed, routing, scratch);
};
template <class S, Config C, class B>
concept IsDispatch = requires(S const s, B const& on, Inputs<C> const& in, Routing<C> const& routing, Batch<C> const& batch, std::span<std::byte> scratch) {
  s(on, in, routing, batch, scratch);
};
template <class S, Config C, class B>
concept IsExperts = requires(S const s, B const& on, Rows<element_t<C.dtype> const, width(C)> x, PackedView<C, B> const& packed, Batch<C> const& batch,
                             Rows<element_t<C.dtype>, width(C)> out, std::span<std::byte> scratch) {
  s(on, x, packed, batch, out, scratch);
};
template <class S, Config C, class B>
concept IsCombine = requires(S const s, B const& on, Inputs<C> const& in, PackedView<C, B> const& packed, Routing<C> const& routing, Batch<C> const& batch,
                             Rows<element_t<C.dtype> const, width(C)> out, Rows<element_t<C.dtype> const, C.hidden> shared,
                             Rows<element_t<C.dtype>, C.hidden> y, std::span<std::byte> scratch) {
  s(on, in, packed, routing, batch, out, shared, y, scratch);
};

// Bytes a stage needs; a user's stage that declares none needs none.
template <class S, class B> std::size_t scratch_bytes(S const& stage, B const& on, std::int64_t tokens) {
  if constexpr (requires { stage.workspace_bytes(on, tokens); }) return stage.workspace_bytes(on, tokens);
  else {
    static_assert(!requires { &S::workspace_bytes; }, "coterie: a stage's workspace_bytes must be callable as workspace_bytes(backend, tokens) on a const stage");
    return 0;
  }
}

}}
