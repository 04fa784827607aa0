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

// What a stage asks of its arguments before it uses them, whoever calls it: pointers that are set and aligned to their
// elements, rows at least their columns apart, and outputs that overlap no other argument (all from the first row to the
// last counts, also what lies between rows). A few comparisons a call.
class Arguments {
 public:
  Arguments(char const* stage, Where at) : stage_(stage), at_(at) {}
  template <Config C> void tokens(std::int64_t n) const {
    constexpr std::int64_t most = ((std::int64_t{1} << 31) - 1) / slots(C);
    if (n < 0) refuse("tokens must not be negative", n, 0);
    if (n > most) refuse("tokens times slots must stay below 2^31", n, most);
  }
  // The first n rows, or n elements. Without any, nothing is asked.
  template <class T, int N> void reads(char const* name, Rows<T, N> const& r, std::int64_t n) { rows(name, r, n, false); }
  template <class T, int N> void writes(char const* name, Rows<T, N> const& r, std::int64_t n) { rows(name, r, n, true); }
  template <class T> void reads(char const* name, T const* data, std::int64_t n) { rows(name, Rows<T const, 1>{data, n}, n, false); }
  template <class T> void writes(char const* name, T const* data, std::int64_t n) { rows(name, Rows<T const, 1>{data, n}, n, true); }
  // Scratch under the name that the stage has for it: enough bytes, of any alignment.
  void scratch(char const* name, std::span<std::byte> memory, std::size_t want) {
    if (memory.size() < want) refuse(std::string(name) + " is too small", static_cast<std::int64_t>(memory.size()), static_cast<std::int64_t>(want));
    writes(name, memory.data(), static_cast<std::int64_t>(want));
  }
  void packed(std::byte const* data) const {
    if (!data) refuse("packed weights are not set", 0, 1);
    if (reinterpret_cast<std::uintptr_t>(data) % 64) refuse("packed weights must be aligned to 64 bytes", static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data) % 64), 0);
  }
  // A backend with memory of its own refuses arguments, or weights, that are not in it.
  template <class B> void resident(B const& on, std::byte const* packed) const {
    if constexpr (requires { on.needs_device_memory(stage_, "", packed, at_); }) {
      for (int i = 0; i < count_; ++i) on.needs_device_memory(stage_, pieces_[i].name, reinterpret_cast<void const*>(pieces_[i].first), at_);
      if (packed) on.needs_device_memory(stage_, "the packed weights", packed, at_);
    }
  }

 private:
  struct Piece {
    char const* name;
    std::uintptr_t first, last;                  // bytes [first, last)
    bool output;
  };
  template <class T, int N> void rows(char const* name, Rows<T, N> const& r, std::int64_t n, bool output) {
    if (n <= 0) return;
    if (!r.data) refuse(std::string(name) + " is not set", 0, 1);
    if (r.stride < N) refuse(std::string(name) + "'s row stride must be at least its columns", r.stride, N);
    add(name, reinterpret_cast<std::uintptr_t>(r.data), alignof(T), (static_cast<std::uintptr_t>(n - 1) * static_cast<std::uintptr_t>(r.stride) + N) * sizeof(T), output);
  }
  void add(char const* name, std::uintptr_t first, std::size_t alignment, std::uintptr_t bytes, bool output) {
    if (first % alignment) refuse(std::string(name) + " must be aligned to its elements", static_cast<std::int64_t>(first % alignment), 0);
    std::uintptr_t const last = first + bytes;
    for (int i = 0; i < count_; ++i) {
      Piece const& other = pieces_[i];
      if ((!output && !other.output) || first >= other.last || other.first >= last) continue;
      std::uintptr_t const common = (last < other.last ? last : other.last) - (first > other.first ? first : other.first);
      refuse(std::string(output ? name : other.name) + " must not overlap " + (output ? other.name : name), static_cast<std::int64_t>(common), 0);
    }
    pieces_[count_++] = {name, first, last, output};
  }
  [[noreturn]] void refuse(std::string const& what, std::int64_t got, std::int64_t want) const {
    fail(std::string(stage_) + ": " + what + ": got " + std::to_string(got) + ", want " + std::to_string(want), at_);
  }

  char const* stage_;
  Where at_;
  Piece pieces_[12];
  int count_ = 0;
};

// What a router of this config reads besides x, where it is set; `to` may stand in the same place, row for row.
template <Config C> void router_reads(Arguments& arguments, Inputs<C> const& in, Routing<C> const& to) {
  auto const reads = [&](char const* name, auto const& from, auto const& over) {
    if (from.data && (from.data != over.data || from.stride != over.stride)) arguments.reads(name, from, in.x.rows);
  };
  (void)reads, (void)to;
  if constexpr (C.router.input == RouterInput::separate) reads("Inputs::router_x", in.router_x, Rows<element_t<C.dtype>, C.hidden>{});
  if constexpr (C.router.input == RouterInput::logits) reads("Inputs::logits", in.logits, to.logits);
  if constexpr (C.router.input == RouterInput::given || C.router.select == Select::table) reads("Inputs::routing.expert", in.routing.expert, to.expert);
  if constexpr (C.router.input == RouterInput::given) reads("Inputs::routing.weight", in.routing.weight, to.weight);
  if constexpr (C.router.select == Select::table)
    if (in.token_ids && !in.routing.expert.data) arguments.reads("Inputs::token_ids", in.token_ids, in.x.rows);
}

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
