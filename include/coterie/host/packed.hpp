// A packed layer on the host.
#pragma once
#include "../packed.hpp"
#include "quantised.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Weights that the host kernels compute with: all types, scales in groups that no tile of 32 inputs splits.
template <Config C> constexpr bool computes() {
  if constexpr (is_float(C.weights)) return true;
  else return Quantised<C.weights, C.quant>::fits(width(C)) && Quantised<C.weights, C.quant>::fits(C.ffn);
}
template <Config C> inline constexpr bool computable = computes<C>();
template <Config C> std::string refusal() {
  return std::string(name(C.weights)) + " expert weights in groups of " + std::to_string(C.quant.group) + " (multiples of 32, or whole rows)";
}

template <Config C> using PackedLayout = coterie::PackedLayout<C, PanelShape>;

// Typed access to a packed layer.
template <Config C>
struct Reader {
  static constexpr Config config = C;
  using Layout = PackedLayout<config>;
  PackedView<config, Host> view;
  Layout layout = Layout::make(C.experts, 0);    // also of a view that is to use some of the experts

  template <class T> T const* at(std::size_t offset) const { return reinterpret_cast<T const*>(view.data + offset); }
  typename Layout::Header const& header() const { return *at<typename Layout::Header>(layout.header); }
  float const* floats(std::size_t offset) const { return at<float>(offset); }
  auto gate_up(int expert) const {
    return at<typename Layout::ExpertT>(layout.expert_panels + static_cast<std::size_t>(expert) * layout.expert_stride);
  }
  auto down(int expert) const {
    return at<typename Layout::ExpertT>(layout.expert_panels + static_cast<std::size_t>(expert) * layout.expert_stride + layout.expert_down);
  }
};

}}}
