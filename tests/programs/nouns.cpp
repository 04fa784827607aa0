// Do Routing and Batch carry every variant? Toy experts (numbers, not matrices) between the library's dispatch and combine,
// against the definition token by token; and the same Batches exchanged between two ranks that own half of the experts each.
#include <coterie/coterie.hpp>
#include <cstdio>
#include <vector>
namespace ct = coterie;

constexpr ct::Config base{.experts = 8, .top_k = 2, .hidden = 4, .ffn = 4, .dtype = ct::DType::fp32};
template <class Change> constexpr ct::Config with(Change change) {
  ct::Config c = base;
  change(c);
  return c;
}
constexpr ct::Config capacity = with([](ct::Config& c) { c.capacity = {.rounding = ct::Rounding::flaxformer}; });
constexpr ct::Config after_drop = with([](ct::Config& c) { c.capacity = {.rounding = ct::Rounding::flaxformer, .normalise = ct::When::after}; });
constexpr ct::Config choice = with([](ct::Config& c) { c.router = {.select = ct::Select::expert_choice, .normalise = ct::Normalise::none}; });
constexpr ct::Config gate_input = with([](ct::Config& c) { c.router.place = ct::Place::input; });
constexpr ct::Config nulls = with([](ct::Config& c) { c.expert.identity = 2, c.expert.skip = 1; });
constexpr ct::Config latent = with([](ct::Config& c) { c.expert.latent = 3; });
constexpr ct::Config wide_k = with([](ct::Config& c) { c.top_k = 7, c.experts = 7; });

int score(std::int64_t token, int expert) {     // any total order will do; no ties
  std::uint64_t h = static_cast<std::uint64_t>(token * 64 + expert) * 0x9e3779b97f4a7c15u;
  return static_cast<int>((h ^ h >> 29) * 0xbf58476d1ce4e5b9u >> 40);
}
float toy(int expert, float v) { return static_cast<float>(expert + 1) * v + 0.125f * static_cast<float>(expert) * v * v; }

// The way into a latent width and back; the experts' own matrices are nobody's business here.
float enter(int o, int h) { return static_cast<float>((o * 5 + h * 3) % 7 - 3) / 4; }
float leave(int h, int o) { return static_cast<float>((h * 2 + o * 3) % 5 - 2) / 2; }
template <ct::Config C> ct::Packed<C, ct::Host> pack(ct::Host const& on) {
  constexpr int H = C.hidden, W = ct::width(C);
  float const zeros[64]{};
  ct::bf16 const router[64]{};
  std::vector<float> down, up;
  for (int i = 0; i < H * W; ++i) down.push_back(enter(i / H, i % H)), up.push_back(leave(i / W, i % W));
  ct::Weights<C, ct::DType::fp32> raw{};
  raw.router.data = router, raw.latent.down.data = down.data(), raw.latent.up.data = up.data();
  for (std::size_t e = 0; e < C.experts; ++e) raw.gate[e].data = raw.up[e].data = raw.down[e].data = zeros;
  return ct::pack(on, raw);
}

template <ct::Config C> struct Rank {
  static constexpr ct::Config config = C;
  static constexpr int S = ct::slots(C), H = C.hidden, W = ct::width(C), N = ct::candidates(C);
  std::int64_t tokens;
  std::vector<float> x, z, weight, before, row_weight, out, y;               // z[T,W]: what the experts read
  std::vector<std::int32_t> expert, begin, token, slot;

  Rank(std::int64_t n, float shift) : tokens(n), begin(C.experts + 1, -9) {
    auto const choices = static_cast<std::size_t>(n * S);
    for (std::int64_t i = 0; i < n * H; ++i) x.push_back(static_cast<float>(i % 17 - 8) / 16 + shift);
    weight.resize(choices), row_weight.resize(choices), expert.assign(choices, -1), token.assign(choices, -9), slot.assign(choices, -9);
    out.assign(choices * W, 1e30f), z = x, y.assign(static_cast<std::size_t>(n) * H, 1e30f);
    route();
    before = weight;
  }
  std::size_t at(std::int64_t t, int s) const { return static_cast<std::size_t>(t * S + s); }

  void route() {
    if constexpr (C.router.select == ct::Select::expert_choice) {
      for (int e = 0; e < C.experts; ++e)                  // an expert takes the tokens that fewer than `places` others beat
        for (std::int64_t t = 0; t < tokens; ++t) {
          std::int64_t better = 0;
          for (std::int64_t u = 0; u < tokens; ++u) better += score(u, e) > score(t, e);
          if (better < ct::capacity(C, tokens)) expert[at(t, e)] = e, weight[at(t, e)] = 0.5f + 0.0625f * static_cast<float>(e);
        }
    } else {
      for (std::int64_t t = 0; t < tokens; ++t)
        for (int e = 0; e < N; ++e) {
          int better = 0;
          for (int other = 0; other < N; ++other) better += score(t, other) > score(t, e);
          if (better < S) expert[at(t, better)] = e, weight[at(t, better)] = 1.f / static_cast<float>(2 + better);
        }
    }
  }
  ct::Routing<config> routing() { return {.expert = {expert.data(), tokens}, .weight = {weight.data(), tokens}}; }
  ct::Batch<config> batch() { return {.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), tokens}}; }
  ct::Inputs<config> inputs() { return {.x = {x.data(), tokens}}; }

  void dispatch(ct::Host const& on) {
    ct::Dispatch<config, ct::Host> const stage;
    std::vector<std::byte> scratch(stage.workspace_bytes(on, tokens));
    stage(on, inputs(), routing(), batch(), scratch);
  }
  void narrow(ct::Host const& on, ct::PackedView<config, ct::Host> packed) {
    if constexpr (C.expert.latent > 0) {
      z.assign(static_cast<std::size_t>(tokens) * W, 1e30f);
      ct::Latent<config, ct::Host> const stage;
      std::vector<std::byte> scratch(stage.workspace_bytes(on, tokens));
      stage(on, {x.data(), tokens}, packed, {z.data(), tokens}, scratch);
    } else {
      (void)on, (void)packed;
    }
  }
  void combine(ct::Host const& on, ct::PackedView<config, ct::Host> packed) {
    ct::Combine<config, ct::Host> const stage;
    std::vector<std::byte> scratch(stage.workspace_bytes(on, tokens));
    stage(on, inputs(), packed, routing(), batch(), {out.data(), begin[C.experts]}, {}, {y.data(), tokens}, scratch);
  }
  // y from the choices as routed, places counted choice by choice; no maps. At the experts' width, from what they read.
  float routed_sum(std::int64_t t, float v) const {
    bool const limited = C.capacity.rounding != ct::Rounding::none;
    bool kept[S];
    float sum = 0, result = 0;
    for (int s = 0; s < S; ++s) {
      int const e = expert[at(t, s)];
      std::int64_t ahead = 0;
      for (int s2 = 0; s2 <= s; ++s2)
        for (std::int64_t u = 0; u < (s2 == s ? t : tokens); ++u) ahead += expert[at(u, s2)] == e;
      kept[s] = e >= 0 && (!limited || ahead < ct::capacity(C, tokens));
      if (kept[s]) sum += before[at(t, s)];
    }
    for (int s = 0; s < S; ++s) {
      int const e = expert[at(t, s)];
      float const w = before[at(t, s)] / (limited && C.capacity.normalise == ct::When::after && sum > 0 ? sum : 1);
      if (!kept[s] || e >= C.experts + C.expert.identity) continue;
      if (e >= C.experts) result += w * v;
      else result += C.router.place == ct::Place::input ? toy(e, w * v) : w * toy(e, v);
    }
    return result;
  }
  float definition(std::int64_t t, int h) const {
    float const* const token = &x[static_cast<std::size_t>(t * H)];
    if (C.expert.latent == 0) return routed_sum(t, token[h]);
    float result = 0;
    for (int o = 0; o < W; ++o) {
      float v = 0;
      for (int i = 0; i < H; ++i) v += enter(o, i) * token[i];
      result += leave(h, o) * routed_sum(t, v);
    }
    return result;
  }
};

// The experts stage, toy: any rows, sorted by expert.
template <ct::Config C> void compute(float const* x, int first, int experts, std::int32_t const* begin, std::int32_t const* token, float const* weight, float* out) {
  for (int e = 0; e < experts; ++e)
    for (std::int32_t r = begin[e]; r < begin[e + 1]; ++r)
      for (int h = 0; h < ct::width(C); ++h) {
        float const v = x[token[r] * ct::width(C) + h];
        out[r * ct::width(C) + h] = toy(first + e, C.router.place == ct::Place::input ? weight[r] * v : v);
      }
}

// Both ranks' rows for the experts of one owner, received sender by sender, sorted by expert, computed, sent back.
template <ct::Config C> void exchange(Rank<C>* ranks, std::vector<float>* out, int owner) {
  struct Origin { int rank; std::int32_t row; };
  constexpr int mine = C.experts / 2, W = ct::width(C);
  std::vector<float> x, weight;
  std::vector<std::int32_t> begin{0}, token;
  std::vector<Origin> origin;
  for (int e = owner * mine; e < (owner + 1) * mine; ++e) {
    for (int from = 0; from < 2; ++from)
      for (std::int32_t r = ranks[from].begin[static_cast<std::size_t>(e)]; r < ranks[from].begin[static_cast<std::size_t>(e) + 1]; ++r) {
        auto const row = static_cast<std::size_t>(r);
        for (int h = 0; h < W; ++h) x.push_back(ranks[from].z[static_cast<std::size_t>(ranks[from].token[row] * W + h)]);
        token.push_back(static_cast<std::int32_t>(origin.size())), weight.push_back(ranks[from].row_weight[row]), origin.push_back({from, r});
      }
    begin.push_back(static_cast<std::int32_t>(origin.size()));
  }
  std::vector<float> result(x.size());
  compute<C>(x.data(), owner * mine, mine, begin.data(), token.data(), weight.data(), result.data());
  for (std::size_t r = 0; r < origin.size(); ++r)
    for (int h = 0; h < W; ++h)
      out[origin[r].rank][static_cast<std::size_t>(origin[r].row * W + h)] = result[r * W + static_cast<std::size_t>(h)];
}

template <ct::Config C> int check(char const* name) {
  int failures = 0;
  ct::Host const on{.threads = 2};
  auto const packed = pack<C>(on);
  for (std::int64_t tokens : {0, 1, 57, 256}) {
    Rank<C> ranks[2]{{tokens, 0}, {tokens, 0.25f}};
    for (Rank<C>& rank : ranks) {
      rank.dispatch(on);
      rank.narrow(on, packed.view());
      compute<C>(rank.z.data(), 0, C.experts, rank.begin.data(), rank.token.data(), rank.row_weight.data(), rank.out.data());
      rank.combine(on, packed.view());
      float worst = 0;
      for (std::int64_t t = 0; t < tokens; ++t)
        for (int h = 0; h < C.hidden; ++h) {
          float const off = rank.definition(t, h) - rank.y[static_cast<std::size_t>(t * C.hidden + h)];
          worst = off > worst ? off : -off > worst ? -off : worst;
        }
      if (!(worst < 1e-4f)) std::printf("nouns: %s, %d tokens: off by %g\n", name, static_cast<int>(tokens), static_cast<double>(worst)), ++failures;
    }
    if constexpr (C.experts % 2 == 0) {
      std::vector<float> out[2]{ranks[0].out, ranks[1].out};
      for (auto& o : out) o.assign(o.size(), 1e30f);
      for (int owner = 0; owner < 2; ++owner) exchange<C>(ranks, out, owner);
      for (int r = 0; r < 2; ++r)
        if (out[r] != ranks[r].out) std::printf("nouns: %s, %d tokens: exchanged rows differ\n", name, static_cast<int>(tokens)), ++failures;
    }
  }
  return failures;
}

int main() {
  int failures = check<base>("dropless");
  failures += check<capacity>("capacity");
  failures += check<after_drop>("normalised after dropping");
  failures += check<choice>("expert choice");
  failures += check<gate_input>("weighted inputs");
  failures += check<nulls>("null experts");
  failures += check<latent>("latent experts");
  failures += check<wide_k>("every expert");
  std::printf("nouns: %d failures\n", failures);
  return failures != 0;
}
