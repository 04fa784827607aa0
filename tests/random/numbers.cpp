// The numbers of a case: weights and tokens of every kind of trace. Routers learn their trace: a column of x that is 1
// (and one that is the token's place) meets router weights that prefer the right experts.
#include <coterie/reference/capacity.hpp>
#include "../cases.hpp"

namespace cases {

namespace {

struct Maker {
  Random random;
  ct::Config const& c;
  Trace trace;
  bool whole() const { return trace == Trace::integers; }
  double draw(double size) { return trace == Trace::negative_zero && random.one_in(4) ? -0. : whole() ? (random.one_in(3) ? random.below(5) - 2 : 0) : size * random.normal(); }
  std::vector<float> vector(std::int64_t n, double size, double centre = 0) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(centre + draw(size)));
    return v;
  }
  std::vector<double> matrix(std::int64_t out, std::int64_t in, double size) {
    std::vector<double> m;
    for (std::int64_t i = 0; i < out * in; ++i) m.push_back(draw(size));
    return m;
  }
  // Plain, transposed, or with rows further apart than they are long (the gap holds NaN).
  Stored stored(ct::DType d, std::int64_t out, std::int64_t in, std::vector<double> const& m) {
    Stored s;
    int const layout = random.below(3);
    s.out_stride = layout == 1 ? 1 : layout == 2 ? in + 3 : in, s.in_stride = layout == 1 ? out : 1;
    s.data.assign(static_cast<std::size_t>(out * (layout == 2 ? in + 3 : in)) * bytes_of(d), std::byte{0xff});
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i) save(d, s.data.data(), o * s.out_stride + i * s.in_stride, m[static_cast<std::size_t>(o * in + i)]);
    return s;
  }
  Stored stored(ct::DType d, std::int64_t out, std::int64_t in, double size) { return stored(d, out, in, matrix(out, in, size)); }

  Stored expert(ct::DType d, std::int64_t out, std::int64_t in, double size) { return ct::is_float(d) ? stored(d, out, in, size) : coded(d, out, in, size); }
  // Random codes under scales that make numbers of that size. The layouts of stored(); rows of 4-bit codes may begin inside a byte.
  Stored coded(ct::DType d, std::int64_t out, std::int64_t in, double size) {
    ct::QuantConfig const q = c.quant;
    Code const code{d, q.zero_points != 0};
    std::int64_t const group = d == ct::DType::mxfp4 ? 32 : q.group ? q.group : in, groups = (in + group - 1) / group, scales = (out + q.group_rows - 1) / q.group_rows * groups;
    Stored s;
    if (trace == Trace::huge && d != ct::DType::int4 && random.one_in(2)) size *= 0x1p-20;   // sums that are finite, but not without their scale
    for (std::int64_t g = 0; g < scales; ++g) {
      s.scale.push_back(scale(d, size / code.typical));
      if (q.zero_points) s.zero.push_back(static_cast<std::uint8_t>(whole() || !random.one_in(4) ? code.count / 2 + random.below(code.count / 4) - code.count / 8 : random.below(code.count)));
    }
    int const layout = random.below(3), strange = random.one_in(8) ? random.below(out * in) : -1;
    s.out_stride = layout == 1 ? 1 : layout == 2 ? in + 3 : in, s.in_stride = layout == 1 ? out : 1;
    s.data.assign(static_cast<std::size_t>((out * (layout == 2 ? in + 3 : in) * ct::bits(d) + 7) / 8), std::byte{0xff});
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i) {
        std::int64_t const at = o * s.out_stride + i * s.in_stride, g = o / q.group_rows * groups + i / group;
        bool const odd = o * in + i == strange;
        if (odd && trace == Trace::nan_rows && random.one_in(2)) s.scale[static_cast<std::size_t>(g)] = std::nanf("");
        auto const v = static_cast<std::byte>(odd && trace == Trace::nan_rows ? code.nan : odd && trace == Trace::infinite ? code.infinite : number(code, q.zero_points ? s.zero[static_cast<std::size_t>(g)] : 0));
        std::byte& to = s.data[static_cast<std::size_t>(at * ct::bits(d) / 8)];
        if (ct::bits(d) == 8) to = v;
        else to = at % 2 ? (to & std::byte{0x0f}) | v << 4 : (to & std::byte{0xf0}) | v;
      }
    return s;
  }

 private:
  // The codes of a type: those of -2 to 2 (integers: less the zero point), of the negative zero, NaN and infinity (or some others).
  struct Code {
    int count;
    bool integer;
    double typical;                                                      // root of the mean square of the finite ones
    unsigned whole[5]{}, negative_zero = 0, nan = 0, infinite = 0;
    Code(ct::DType d, bool zero_points) : count(1 << ct::bits(d)), integer(d == ct::DType::int8 || d == ct::DType::int4) {
      double squares = 0;
      for (unsigned code = 0; code < static_cast<unsigned>(count); ++code) {
        double const v = ref::coded(d, code, zero_points ? count / 2 : -1);
        if (std::isnan(v)) nan = code;
        else if (std::isinf(v)) infinite = code;
        else squares += v * v;
        if (v == 0 && std::signbit(v)) negative_zero = code;
        for (int w = -2; w <= 2; ++w) if (!integer && v == w && (v != 0 || code == 0)) whole[w + 2] = code;
      }
      typical = std::sqrt(squares / count);
    }
  };
  unsigned number(Code const& code, int zero) {
    double const drawn = trace == Trace::negative_zero || whole() ? draw(1) : 1;
    if (drawn == 0 && std::signbit(drawn)) return code.integer ? static_cast<unsigned>(zero) : code.negative_zero;
    if (whole()) return code.integer ? static_cast<unsigned>(static_cast<int>(drawn) + zero) & static_cast<unsigned>(code.count - 1) : code.whole[static_cast<int>(drawn) + 2];
    unsigned const any = static_cast<unsigned>(random.below(code.count)), magnitude = any & static_cast<unsigned>(code.count / 2 - 1);
    bool const finite = !(code.nan && magnitude >= (code.infinite ? code.infinite : code.nan) % static_cast<unsigned>(code.count / 2));
    return finite ? any : 0;
  }
  // Also 0, negative and subnormal ones, where the type has them. The integers' are powers of two.
  float scale(ct::DType d, double size) {
    bool const power = d == ct::DType::mxfp4;
    if (whole()) return std::ldexp(power || !random.one_in(8) ? 1.f : -1.f, random.below(3) - 1);
    if (trace == Trace::denormal && random.one_in(3)) return d == ct::DType::int4 ? 0x3p-22f : std::ldexp(1.f, -127 + random.below(40));
    if (power) return std::ldexp(1.f, std::ilogb(size) + random.below(3));
    return random.one_in(16) ? 0.f : static_cast<float>((random.one_in(8) ? -size : size) * (0.5 + random.uniform()));
  }
};

// What a trace wants of expert e, as a logit; `place` runs from 0 to 1 over the tokens.
double wish(Trace trace, int e, int n, double place, std::int64_t token) {
  if (trace == Trace::new_expert) return token % n == e ? 12 : 0;
  if (trace == Trace::zipf) return -1.5 * std::log(e + 1.);
  if (trace == Trace::one_expert) return e == n - 1 ? 12 : 0;
  if (trace == Trace::sorted) return 8 * (2 * place - e / static_cast<double>(n)) * e / static_cast<double>(n);   // a parabola around place
  return 0;
}

}

Tensors make_tensors(Subject const& of, Case const& k) {
  ct::Config const& c = of.config;
  Maker make{Random{k.seed}, c, k.trace};
  Tensors t;
  std::int64_t const n = ct::logit_columns(c), h = c.hidden, f = c.ffn, w = ct::width(c), s = c.shared.ffn;
  std::vector<double> router = make.matrix(n, h, 2 / std::sqrt(h));
  for (std::int64_t e = 0; e < n; ++e) {
    double* const to = router.data() + e * h;
    if (k.trace == Trace::ties)                                          // experts e and e + 3 cannot be told apart
      for (std::int64_t i = 0; i < h; ++i) to[i] = e >= 3 ? router[static_cast<std::size_t>((e % 3) * h + i)] : std::nearbyint(to[i] * 2);
    if (k.trace == Trace::new_expert) to[e % h] += 8;                    // meets the column that token e has
    else to[0] += wish(k.trace, static_cast<int>(e), static_cast<int>(n), 0, 0);
    if (k.trace == Trace::sorted && h > 1) to[1] += 16 * static_cast<double>(e) / static_cast<double>(n);
  }
  t.router = make.stored(c.router.weights, n, h, router);
  if (c.router.noise == ct::Noise::softplus) t.noise = make.stored(c.router.weights, n, h, 1 / std::sqrt(h));
  bool const tied = k.trace == Trace::ties;
  if (c.router.bias) t.router_bias = tied ? std::vector<float>(static_cast<std::size_t>(n), 0.5f) : make.vector(n, 0.3);
  if (c.router.select_bias) t.select_bias = tied ? std::vector<float>(static_cast<std::size_t>(ct::candidates(c)), -0.25f) : make.vector(ct::candidates(c), 0.4, make.random.one_in(2) ? -1 : 0);
  if (c.router.expert_scale) t.expert_scale = make.vector(c.experts, 0.3, 1);
  if (c.router.select == ct::Select::table)
    for (int i = 0; i < 11 * c.top_k; ++i) t.table.push_back(make.random.one_in(9) ? -1 : make.random.below(ct::candidates(c)));
  bool const gated = ct::gated(c.expert.act);
  for (int e = 0; e < c.experts; ++e) {
    if (gated) t.gate.push_back(make.expert(of.stored, f, w, 1.5 / std::sqrt(w)));
    t.up.push_back(make.expert(of.stored, f, w, 1.5 / std::sqrt(w)));
    t.down.push_back(make.expert(of.stored, w, f, 1 / std::sqrt(f)));
    if (!c.expert.bias) continue;
    t.gate_bias.push_back(make.vector(f, 0.3)), t.up_bias.push_back(make.vector(f, 0.3)), t.down_bias.push_back(make.vector(w, 0.3));
  }
  if (s) {
    if (gated) t.shared_gate = make.stored(c.shared.weights, s, h, 1.5 / std::sqrt(h));
    t.shared_up = make.stored(c.shared.weights, s, h, 1.5 / std::sqrt(h)), t.shared_down = make.stored(c.shared.weights, h, s, 1 / std::sqrt(s));
    t.mix = make.stored(c.shared.weights, 2, h, 1 / std::sqrt(h));
    if (make.random.one_in(2)) t.mix_bias = make.vector(2, 0.5);
  }
  if (c.expert.latent) {
    t.latent_down = make.stored(c.dtype, w, h, 1 / std::sqrt(h)), t.latent_up = make.stored(c.dtype, h, w, 1 / std::sqrt(w));
    t.latent_norm = make.vector(w, 0.2, 1);
    t.latent_epsilon = make.random.one_in(2) ? 1e-6f : 0.01f;
  }
  t.router_scale = make.random.one_in(3) && !ref::deferred(c) ? 1.75f : 1;      // see RouterConfig and CapacityConfig::normalise
  return t;
}

Feed make_feed(Subject const& of, Case const& k) {
  ct::Config const& c = of.config;
  Maker make{Random{k.seed ^ 0x5eed}, c, k.trace};
  Random& random = make.random;
  Feed f;
  std::int64_t const n = f.tokens = k.tokens, h = c.hidden, columns = ct::logit_columns(c);
  f.x_stride = h + (random.one_in(2) ? random.below(9) : 0), f.y_stride = h + (random.one_in(2) ? random.below(9) : 0);
  double const most = c.dtype == ct::DType::fp16 ? 65504 : c.dtype == ct::DType::bf16 ? 0x1.fep127 : ref::largest;
  auto const fill = [&](Bytes& to) {
    to.assign(static_cast<std::size_t>(n * f.x_stride) * bytes_of(c.dtype), std::byte{0xff});
    for (std::int64_t t = 0; t < n; ++t) {
      bool const odd = random.one_in(3);                                 // this token carries what the trace is about
      std::int64_t const at = random.below(h);
      for (std::int64_t i = 0; i < h; ++i) {
        double v = make.draw(1);
        if (k.trace == Trace::ties) v = random.below(5) - 2;
        if (i == 0 && (k.trace == Trace::zipf || k.trace == Trace::one_expert || k.trace == Trace::sorted)) v = 1;
        if (k.trace == Trace::new_expert && i == t % h) v = 4;
        if (i == 1 && k.trace == Trace::sorted) v = static_cast<double>(t) / static_cast<double>(n);
        if (k.trace == Trace::denormal) v *= c.dtype == ct::DType::fp16 ? 0x1p-20 : 0x1p-135;
        if (odd && k.trace == Trace::nan_rows && (i == at || random.one_in(4))) v = std::nan("");
        if (odd && k.trace == Trace::infinite && i == at) v = random.one_in(2) ? ref::infinity : -ref::infinity;
        if (odd && k.trace == Trace::huge) v = random.one_in(2) ? most : -most;
        save(c.dtype, to.data(), t * f.x_stride + i, v);
      }
    }
  };
  fill(f.x);
  if (c.router.input == ct::RouterInput::separate) fill(f.router_x);
  if (c.router.input == ct::RouterInput::logits)
    for (std::int64_t t = 0; t < n; ++t)
      for (std::int64_t e = 0; e < columns; ++e) {
        double v = 2 * make.draw(1) + wish(k.trace, static_cast<int>(e), static_cast<int>(columns), static_cast<double>(t) / static_cast<double>(n), t);
        bool const odd = random.one_in(4);
        if (k.trace == Trace::ties) v = random.one_in(2) ? 1 : 2;
        if (k.trace == Trace::denormal) v *= 0x1p-140;
        if (odd && k.trace == Trace::nan_rows) v = std::nan("");
        if (odd && k.trace == Trace::infinite) v = random.one_in(2) ? ref::infinity : -ref::infinity;
        if (odd && k.trace == Trace::huge) v = random.one_in(2) ? ref::largest : -ref::largest;
        f.logits.push_back(static_cast<float>(v));
      }
  auto const pick = [&](std::int64_t t, int s) {
    int const e = ct::candidates(c);
    if (k.trace == Trace::one_expert) return e - 1;
    if (k.trace == Trace::sorted) return static_cast<int>((t * e / n + s) % e);
    if (k.trace == Trace::new_expert) return static_cast<int>((t + s) % e);
    if (k.trace == Trace::zipf) return static_cast<int>(std::pow(e + 1., random.uniform())) - 1;
    return random.one_in(8) ? -1 : random.below(e);                      // absent choices and repeated ones too
  };
  bool const replay = c.router.select == ct::Select::table && random.one_in(3);
  if (c.router.input == ct::RouterInput::given || replay)
    for (std::int64_t t = 0; t < n; ++t)
      for (int s = 0; s < ct::slots(c); ++s) {
        f.given_expert.push_back(std::min(pick(t, s), ct::candidates(c) - 1));
        double v = make.whole() ? std::ldexp(1., random.below(4) - 2) : random.uniform();
        if (k.trace == Trace::ties) v = 0.5;
        if (k.trace == Trace::nan_rows && random.one_in(9)) v = std::nan("");
        if (!replay) f.given_weight.push_back(static_cast<float>(v));
      }
  // Expert choice writes expert e to slot e or leaves it empty; a given routing may say anything a table of ids can.
  if (c.router.input == ct::RouterInput::given && c.router.select == ct::Select::expert_choice)
    for (std::size_t i = 0; i < f.given_expert.size(); ++i) f.given_expert[i] = f.given_expert[i] < 0 ? -1 : static_cast<std::int32_t>(i % static_cast<std::size_t>(c.experts));
  if (c.router.select == ct::Select::table && !replay)
    for (std::int64_t t = 0; t < n; ++t) f.token_ids.push_back(random.below(11));
  int const group = random.below(4);
  f.sequence = group == 0 ? 7 : group == 1 ? 16 : group == 2 ? 1000 : 0;
  f.seed = random.one_in(4) ? 0 : k.seed | 1;
  return f;
}

}
