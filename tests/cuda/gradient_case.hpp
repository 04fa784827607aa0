// Gradients of one matrix by many dense rows: in pieces, by themselves and by a router.
#pragma once
#include <coterie/router/backward.cuh>
#include "backward_case.hpp"

namespace cuda_tests {

// sum over rows of p(r, o) q(r, i), each of `at` numbers in its row.
template <class A, class B> float gradient_of(std::vector<A> const& p, std::vector<B> const& q, std::int64_t rows, std::int64_t p_width, std::int64_t q_width, std::int64_t o, std::int64_t i) {
  float sum = 0;
  for (std::int64_t r = 0; r < rows; ++r) sum += ct::to_float(p[static_cast<std::size_t>(r * p_width + o)]) * ct::to_float(q[static_cast<std::size_t>(r * q_width + i)]);
  return sum;
}

// Whole numbers, added to what is there: in as many pieces as so many rows give, or to a matrix whose outputs are neighbours.
template <class V> struct DenseGradientCase {
  std::int64_t rows, outputs, inputs;
  int turned = 0;
  std::vector<V> p, q;
  simt::Array<V> from_p, from_q;
  simt::Array<float> scratch, gradient;

  DenseGradientCase(std::int64_t n, std::int64_t o, std::int64_t i, int is_turned = 0)
      : rows(n), outputs(o), inputs(i), turned(is_turned), p(static_cast<std::size_t>(n * o)), q(static_cast<std::size_t>(n * i)), from_p(p.size()), from_q(q.size()),
        scratch(static_cast<std::size_t>(ct::device::gradient_scratch(n, o, i) + 1)), gradient(static_cast<std::size_t>(o * i)) {
    cases::Random random{static_cast<std::uint64_t>(n)};
    for (V& v : p) v = ct::from_float<V>(static_cast<float>(random.below(5) - 2));
    for (V& v : q) v = ct::from_float<V>(static_cast<float>(random.below(5) - 2));
    from_p.put(p), from_q.put(q);
  }
  void run(ct::Arch path, int overwrite) const {
    gradient.put(std::vector<float>(gradient.size(), 7));
    ct::device::GradientProduct<V, V, ct::device::DenseGradient<float>> const product{.p = from_p.data(), .p_stride = outputs, .p_map = nullptr, .q = from_q.data(), .q_stride = inputs, .q_map = nullptr,
        .outputs = outputs, .inputs = inputs, .groups = {.rows = rows}, .to = {.data = gradient.data(), .out_stride = turned ? 1 : inputs, .in_stride = turned ? outputs : 1, .overwrite = overwrite}};
    if (turned) ct::device::add_gradient(ct::Cuda{}, path, product, ct::Where::here());
    else ct::device::add_dense_gradient(ct::Cuda{}, path, product, scratch.data(), ct::Where::here());
  }
  std::string failure(ct::Arch path, int overwrite) const {
    run(path, overwrite);
    std::vector<float> const got = gradient.get();
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t i = 0; i < inputs; ++i) {
        float const want = gradient_of(p, q, rows, outputs, inputs, o, i) + (overwrite ? 0.f : 7.f), is = got[static_cast<std::size_t>(turned ? i * outputs + o : o * inputs + i)];
        if (is != want) return "output " + std::to_string(o) + ", input " + std::to_string(i) + " is " + std::to_string(is) + ", want " + std::to_string(want);
      }
    return "";
  }
};

// A router's, whose logits have a gradient of small whole numbers, and whose weights have none.
template <ct::Config C> std::string router_gradient(Checkpoint<C> const& w, ct::Arch path, std::int64_t tokens) {
  using V = ct::element_t<C.dtype>;
  constexpr int N = ct::logit_columns(C), H = C.hidden, S = ct::slots(C);
  cases::Random random{static_cast<std::uint64_t>(tokens)};
  std::vector<V> const x = numbers<V>(random, tokens * H, Numbers::whole);
  std::vector<float> const dz = numbers<float>(random, tokens * N, Numbers::whole);
  simt::Array<V> const from(x);
  simt::Array<float> const logits(std::vector<float>(dz.size())), dlogits(dz), dweight(std::vector<float>(static_cast<std::size_t>(tokens * S))), router(std::vector<float>(N * H, 2));
  std::vector<std::int32_t> expert;
  for (std::int64_t t = 0; t < tokens * S; ++t) expert.push_back(static_cast<std::int32_t>(t % S));
  simt::Array<std::int32_t> const chosen(expert);
  ct::Cuda const on{.arch = path};
  Scratch const scratch(ct::RouterBackward<C, ct::Cuda>{}.workspace_bytes(on, tokens));
  ct::Routing<C> routing{};
  routing.expert = {const_cast<std::int32_t*>(chosen.data()), tokens}, routing.logits = {const_cast<float*>(logits.data()), tokens};
  auto to = std::make_unique<ct::Gradients<C>>();
  to->router = const_cast<float*>(router.data());
  ct::RouterBackward<C, ct::Cuda>{}(on, {.x = {from.data(), tokens}}, w.packed.view(), routing, {}, {.weight = {dweight.data(), tokens}, .logits = {dlogits.data(), tokens}}, nullptr, nullptr, *to, scratch.span());
  std::vector<float> const got = router.get();
  for (int i = 0; i < N * H; ++i) {
    float const want = 2 + gradient_of(dz, x, tokens, N, H, i / H, i % H), is = got[static_cast<std::size_t>(i)];
    if (is != want) return "expert " + std::to_string(i / H) + ", input " + std::to_string(i % H) + " is " + std::to_string(is) + ", want " + std::to_string(want);
  }
  return "";
}

}
