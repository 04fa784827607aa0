// Dispatch on the host: who goes where, as maps. A stable counting sort by expert; capacity decides who is dropped.
#pragma once
#include "../arguments.hpp"
#include "../router/program.hpp"
#include "capacity.hpp"

namespace coterie { inline namespace v0 {

template <Config C>
struct Dispatch<C, Host> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int E = C.experts, S = slots(C);
  // Expert choice has chosen within capacity already.
  static constexpr bool drops = C.capacity.rounding != Rounding::none && C.router.select != Select::expert_choice;

  std::size_t workspace_bytes(Host const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  void operator()(Host const& on, Inputs<config> const& in, Routing<config> const& routing, Batch<config> const& batch,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = routing.expert.rows;
    Arguments arguments{"Dispatch", at};
    dispatch_arguments<config>(arguments, in, routing, batch);
    arguments.scratch("scratch", scratch, n ? workspace_bytes(on, n) : 0);
    for (int e = 0; e <= E; ++e) batch.begin[e] = 0;
    if (n == 0) return;
    check(routing, at);
    mark(on, in, routing, batch, scratch);
    for (std::int64_t t = 0; t < n; ++t)
      for (int s = 0; s < S; ++s)
        if (batch.slot[t][s] >= 0) ++batch.begin[routing.expert[t][s] + 1];
    for (int e = 0; e < E; ++e) batch.begin[e + 1] += batch.begin[e];
    std::int64_t const rows = batch.begin[E], most = rows_bound(C, n);
    require(rows <= most, "Dispatch: more routed rows than the config allows", rows, most, at);
    arguments.writes("batch.token", batch.token, rows), arguments.writes("batch.weight", batch.weight, rows);
    for (std::int64_t t = 0; t < n; ++t)                                 // begin[e] walks to begin[e + 1] ...
      for (int s = 0; s < S; ++s)
        if (batch.slot[t][s] >= 0) {
          std::int32_t const row = batch.begin[routing.expert[t][s]]++;
          batch.slot[t][s] = row;
          batch.token[row] = static_cast<std::int32_t>(t);
          batch.weight[row] = routing.weight[t][s];
        }
    for (int e = E; e > 0; --e) batch.begin[e] = batch.begin[e - 1];     // ... and back
    batch.begin[0] = 0;
  }

  std::string explain(Host const&, std::int64_t tokens) const {
    std::string const places = drops ? ", at most " + std::to_string(capacity(C, tokens)) + " rows an expert" : "";
    return "stable counting sort on one thread, up to " + std::to_string(rows_bound(C, tokens)) + " rows for " + std::to_string(E) + " experts" + places;
  }

 private:
  struct Pieces {
    std::int32_t* fill;                          // [E]
    std::int32_t* order;                         // [T]
    std::uint64_t* key;                          // [T]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    if constexpr (drops) {
      p.fill = arena.take<std::int32_t>(E);
      if constexpr (C.capacity.order != Order::sequence) {
        p.order = arena.take<std::int32_t>(tokens);
        p.key = arena.take<std::uint64_t>(tokens);
      }
    }
    return p;
  }

  static void check(Routing<config> const& routing, Where at) {
    for (std::int64_t t = 0; t < routing.expert.rows; ++t)
      for (int s = 0; s < S; ++s) {
        std::int32_t const e = routing.expert[t][s];
        if (e < -1 || e >= candidates(C)) [[unlikely]]
          fail("Dispatch: expert id of token " + std::to_string(t) + " out of range: got " + std::to_string(e) + ", want -1 to " + std::to_string(candidates(C) - 1), at);
      }
  }

  // slot = 0 for what is dispatched, -1 for what is not; weights renormalised where the config does so after dropping.
  static void mark(Host const&, Inputs<config> const& in, Routing<config> const& routing, Batch<config> const& batch, std::span<std::byte> scratch) {
    std::int64_t const n = routing.expert.rows;
    if constexpr (!drops) {
      for (std::int64_t t = 0; t < n; ++t)
        for (int s = 0; s < S; ++s) batch.slot[t][s] = routing.expert[t][s] >= 0 && routing.expert[t][s] < E ? 0 : -1;
    } else {
      Arena arena{scratch};
      Pieces const p = carve(arena, n);
      std::int64_t const group = group_tokens(n, in.sequence);
      for (std::int64_t first = 0; first < n; first += group) {
        std::int64_t const size = n - first < group ? n - first : group, places = capacity(C, size);
        rank(in, routing, p, first, size);
        for (int e = 0; e < E; ++e) p.fill[e] = 0;
        for (int s = 0; s < S; ++s)                                      // all first choices before any second one
          for (std::int64_t i = 0; i < size; ++i) {
            std::int64_t const t = first + (C.capacity.order == Order::sequence ? i : p.order[i]);
            std::int32_t const e = routing.expert[t][s];
            batch.slot[t][s] = e >= 0 && p.fill[e]++ < places ? 0 : -1;  // a dropped token still counts its position
          }
      }
      if constexpr (route::Program<config>::deferred)
        for (std::int64_t t = 0; t < n; ++t) route::renormalise<config>(routing.weight[t], batch.slot[t]);
    }
  }

  // The order in which tokens of a group ask for places: by their first choice's weight, or at random.
  static void rank(Inputs<config> const& in, Routing<config> const& routing, Pieces const& p, std::int64_t first, std::int64_t size) {
    if constexpr (C.capacity.order != Order::sequence) {
      auto const score = [&](int i) {
        if constexpr (C.capacity.order == Order::probability) return routing.weight[first + i][0];
        else return random::uniform(in.seed, random::Stream::order, static_cast<std::uint64_t>(first + i), 0);
      };
      route::best(score, static_cast<int>(size), static_cast<int>(size), p.key);
      for (std::int64_t i = 0; i < size; ++i) p.order[i] = route::index_of(p.key[i]);
    }
  }
};

}}
