// A training step on the host.
#pragma once
#include <coterie/training.hpp>
#include <memory>
#include "case.hpp"

namespace steps {

template <ct::Config C> Result on_host(Data<C> const& data, float start, int overwrite) {
  using V = ct::element_t<C.dtype>;
  using D = Data<C>;
  ct::Host const on{.threads = 1};
  std::int64_t const T = data.tokens;
  auto const raw = std::make_unique<ct::Weights<C>>();
  data.raw(*raw);
  auto const packed = ct::pack(on, *raw);
  Result r;
  auto const to = std::make_unique<ct::Gradients<C>>();
  std::vector<std::unique_ptr<Floats>> memory;
  data.places(*to, [&]<class E>(std::string const& name, std::int64_t n) {
    r.parts.push_back({name, {}});
    return memory.emplace_back(new Floats(static_cast<std::size_t>(n), start))->data();
  });
  to->overwrite = overwrite;
  auto const in = data.inputs([](auto const& v) { return const_cast<std::remove_cvref_t<decltype(v[0])>*>(v.data()); });
  ct::Layer<C, ct::Host> const layer{packed.view()};
  std::vector<std::byte> cache(layer.cache_bytes(on, T)), workspace(layer.training_workspace_bytes(on, T));
  std::vector<V> y(data.x.size()), dx(data.x.size());
  layer.forward(on, in, ct::Rows<V, C.hidden>{y.data(), T}, cache, workspace);
  ct::Rows<float const, ct::logit_columns(C)> dlogits{}, dnoise{};
  if constexpr (D::has_logits) dlogits = {data.dlogits.data(), T};
  if constexpr (D::noisy) dnoise = {data.dnoise.data(), T};
  layer.backward(on, in, cache, ct::Rows<V const, C.hidden>{data.dy.data(), T}, ct::Rows<V, C.hidden>{dx.data(), T}, *to, workspace, dlogits, dnoise);
  for (std::size_t i = 0; i < memory.size(); ++i) r.parts[i].values = *memory[i];
  r.parts.push_back({"x", floats(dx)}), r.y = floats(y);
  return r;
}

}
