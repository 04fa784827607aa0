// What a stage asks of its arguments before it uses them, on every backend.
#pragma once
#include "stages.hpp"

namespace coterie { inline namespace v0 {

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
  void require(bool ok, char const* what, std::int64_t got, std::int64_t want) const {
    if (!ok) refuse(what, got, want);
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

// What every Router asks; has_logits: whether it can hand out logits.
template <Config C> void router_arguments(Arguments& arguments, Inputs<C> const& in, Routing<C> const& to, bool has_logits) {
  std::int64_t const n = in.x.rows;
  arguments.tokens<C>(n);
  arguments.require(to.expert.rows == n, "routing.expert must have as many rows as x", to.expert.rows, n);
  arguments.require(to.weight.rows == n, "routing.weight must have as many rows as x", to.weight.rows, n);
  if (n == 0) return;
  arguments.writes("routing.expert", to.expert, n), arguments.writes("routing.weight", to.weight, n);
  if constexpr (shared_rows(C) > 0) {
    arguments.require(to.shared.rows == n, "routing.shared must have as many rows as x", to.shared.rows, n);
    arguments.writes("routing.shared", to.shared, n);
  }
  if (has_logits && to.logits.data) {
    arguments.require(to.logits.rows == n, "routing.logits must have as many rows as x", to.logits.rows, n);
    arguments.writes("routing.logits", to.logits, n);
  }
  if constexpr (C.router.input == RouterInput::hidden) arguments.reads("x", in.x, n);
  router_reads<C>(arguments, in, to);
  if constexpr (C.router.input == RouterInput::given)
    arguments.require(in.routing.expert.data && in.routing.weight.data && in.routing.expert.rows == n && in.routing.weight.rows == n,
                      "RouterInput::given needs Inputs::routing with as many rows as x", in.routing.expert.rows, n);
}

// What every Dispatch asks. Batch::token and weight: who knows how many rows there are asks for them.
template <Config C> void dispatch_arguments(Arguments& arguments, Inputs<C> const& in, Routing<C> const& routing, Batch<C> const& batch) {
  std::int64_t const n = routing.expert.rows;
  arguments.tokens<C>(n);
  arguments.require(routing.weight.rows == n, "routing.weight must have as many rows as routing.expert", routing.weight.rows, n);
  arguments.require(batch.slot.rows == n, "batch.slot must have as many rows as routing", batch.slot.rows, n);
  arguments.require(in.sequence >= 0, "Inputs::sequence must not be negative", in.sequence, 0);
  arguments.writes("batch.begin", batch.begin, C.experts + 1), arguments.writes("batch.slot", batch.slot, n);
  arguments.reads("routing.expert", routing.expert, n);
  if constexpr (normalises_after_drop(C)) arguments.writes("routing.weight", routing.weight, n);
  else arguments.reads("routing.weight", routing.weight, n);
}

// What every Experts asks, when there are tokens. rows: what the batch may hold.
template <Config C, class B> void experts_arguments(Arguments& arguments, Rows<element_t<C.dtype> const, width(C)> x, PackedView<C, B> packed, Batch<C> const& batch) {
  arguments.packed(packed.data);
  arguments.require(packed.first_expert >= 0 && packed.experts >= 0 && packed.first_expert <= C.experts - packed.experts, "the packed shard must lie within the config's experts",
                    packed.first_expert + packed.experts, C.experts);
  arguments.reads("batch.begin", batch.begin, C.experts + 1), arguments.reads("x", x, x.rows);
}

// What every Combine asks, when there are tokens.
template <Config C, class B>
void combine_arguments(Arguments& arguments, Inputs<C> const& in, PackedView<C, B> packed, Routing<C> const& routing, Batch<C> const& batch,
                       Rows<element_t<C.dtype> const, width(C)> out, Rows<element_t<C.dtype> const, C.hidden> shared, Rows<element_t<C.dtype>, C.hidden> y) {
  std::int64_t const n = in.x.rows;
  arguments.require(routing.expert.rows == n && routing.weight.rows == n, "routing must have as many rows as x", routing.expert.rows, n);
  arguments.require(batch.slot.rows == n, "batch.slot must have as many rows as x", batch.slot.rows, n);
  arguments.reads("routing.expert", routing.expert, n), arguments.reads("routing.weight", routing.weight, n), arguments.reads("batch.slot", batch.slot, n);
  arguments.reads("x", in.x, n), arguments.reads("out", out, out.rows);          // out has no rows where nothing was dispatched
  if constexpr (combine_reads_weights(C)) arguments.packed(packed.data);
  if constexpr (C.shared.ffn > 0) {
    arguments.require(shared.rows == n, "shared must have as many rows as x", shared.rows, n);
    arguments.reads("shared", shared, n);
  }
  arguments.writes("y", y, n);
}

// What every Shared asks, when there are tokens.
template <Config C> void shared_arguments(Arguments& arguments, Inputs<C> const& in, std::byte const* packed, Routing<C> const& routing, Rows<element_t<C.dtype>, C.hidden> shared) {
  std::int64_t const n = in.x.rows;
  arguments.packed(packed);
  arguments.reads("x", in.x, n), arguments.writes("the output", shared, n);
  if constexpr (shared_rows(C) > 0) {
    arguments.require(routing.shared.rows == n, "routing.shared must have as many rows as x", routing.shared.rows, n);
    arguments.reads("routing.shared", routing.shared, n);
  }
}

}}
