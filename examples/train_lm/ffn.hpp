// The feed-forward part of a block: a Coterie layer, trained. Mixture, dense model of the active size, dense model of the total size: all are
// this one class with another Config; a dense FFN is a mixture of one expert that every token chooses, with weight 1.
#pragma once
#include "parameters.hpp"
#include <coterie/balance.hpp>
#include <coterie/training.hpp>
#include <ctime>
#include <memory>

namespace lm {

namespace ct = coterie;

// Processor time of the calling thread, which other programs do not lengthen.
inline double cpu_seconds_of_thread() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

enum class Balancing { none, auxiliary_loss, bias };

// What the experts of one layer took in a forward pass.
struct Choices {
  int experts = 0, top_k = 0;
  std::vector<std::int32_t> expert;              // [T,K]
  std::vector<float> weight;                     // [T,K]
  ct::balance::Statistics statistics;
};

// A block's view of it; the width of x and y is Config::hidden.
class Ffn {
 public:
  virtual ~Ffn() = default;
  virtual void bind(Parameters& parameters) = 0;             // once the parameters have their room
  virtual void refresh() = 0;                                // after every step: weights into the packed layout, in place
  virtual void forward(float const* x, float* y) = 0;
  virtual void backward(float const* x, float const* dy, float* dx) = 0;   // after forward(); adds to the parameters' gradients
  virtual void balance() = 0;                                // after every step: the biases
  virtual Choices const& choices() const = 0;                // of the last forward()
  virtual std::size_t cached_bytes() const = 0;              // kept between forward() and backward()
  double pack_seconds = 0;
};

template <ct::Config C>
class Mixture final : public Ffn {
 public:
  static constexpr ct::Config config = C;
  static constexpr int E = C.experts, K = C.top_k, H = C.hidden, F = C.ffn;

  // A Config with RouterInput::given has no router: it follows the choices of another layer, which then has run first.
  Mixture(ct::Host const& on, Parameters& to, int layer, std::int64_t tokens, Balancing balancing, Choices const* followed = nullptr)
      : on_(on), tokens_(tokens), balancing_(balancing), followed_(followed) {
    std::string const block = "model.layers." + std::to_string(layer) + ".block_sparse_moe.";
    double const in = 1 / std::sqrt(double{H}), out = 0.5 / std::sqrt(double{F * K});       // 0.5: two layers of two residual branches
    if (routes) router_ = to.add(block + "gate.weight", E, H, 0.02);
    for (std::size_t e = 0; e < E; ++e) {
      std::string const expert = block + "experts." + std::to_string(e) + ".";
      gate_[e] = to.add(expert + "w1.weight", F, H, in), up_[e] = to.add(expert + "w3.weight", F, H, in), down_[e] = to.add(expert + "w2.weight", H, F, out);
    }
    choices_.experts = E, choices_.top_k = K;
    choices_.expert.resize(static_cast<std::size_t>(tokens * K)), choices_.weight.resize(static_cast<std::size_t>(tokens * K));
  }
  void bind(Parameters& p) override {
    if (routes) raw_->router.data = p.value(router_), raw_->select_bias = bias_.data(), to_->router = p.gradient(router_);
    for (std::size_t e = 0; e < E; ++e) {
      raw_->gate[e].data = p.value(gate_[e]), raw_->up[e].data = p.value(up_[e]), raw_->down[e].data = p.value(down_[e]);
      to_->gate[e].data = p.gradient(gate_[e]), to_->up[e].data = p.gradient(up_[e]), to_->down[e].data = p.gradient(down_[e]);
    }
    refresh();
  }
  void refresh() override {
    double const start = cpu_seconds_of_thread();
    ct::Packer<config, ct::Host> packer{on_, std::as_writable_bytes(std::span(packed_))};
    packer.router(*raw_);
    for (std::size_t e = 0; e < E; ++e) packer.expert(static_cast<int>(e), raw_->gate[e], raw_->up[e], raw_->down[e]);
    auto const packed = packer.finish();
    if (!layer_) {
      layer_ = std::make_unique<ct::Layer<config, ct::Host>>(packed.view(), ct::Stages<config, ct::Host>{}, ct::TrainingOptions{.logits = 1});
      cache_.resize(layer_->cache_bytes(on_, tokens_)), workspace_.resize(layer_->training_workspace_bytes(on_, tokens_));
    }
    pack_seconds += cpu_seconds_of_thread() - start;
  }
  void forward(float const* x, float* y) override {
    if (!routes) {
      choices_.expert = followed_->expert, choices_.weight = followed_->weight;
      routing_ = {.expert = {choices_.expert.data(), tokens_}, .weight = {choices_.weight.data(), tokens_}};
    }
    layer_->forward(on_, inputs(x), ct::rows<H>(y, tokens_), cache_, workspace_);
    if (routes) {
      routing_ = layer_->chosen(on_, cache_, tokens_).routing;
      std::copy_n(routing_.expert.data, tokens_ * K, choices_.expert.data()), std::copy_n(routing_.weight.data, tokens_ * K, choices_.weight.data());
    }
    choices_.statistics = ct::balance::statistics<config>(routing_);
  }
  void backward(float const* x, float const* dy, float* dx) override {
    ct::Rows<float const, E> dlogits{};
    if (routes && balancing_ == Balancing::auxiliary_loss) {
      std::fill(dlogits_.begin(), dlogits_.end(), 0.f);
      ct::balance::Losses<config> const losses{.routing = routing_, .coefficient = 1e-2};   // Switch's coefficient
      losses.load({dlogits_.data(), tokens_});
      dlogits = {dlogits_.data(), tokens_};
    }
    layer_->backward(on_, inputs(x), cache_, ct::rows<H>(dy, tokens_), ct::rows<H>(dx, tokens_), *to_, workspace_, dlogits);
  }
  void balance() override {
    // The usual rate is 1e-3 for runs of 10^5 steps and more; of 600 steps it takes half to cure the collapse (loss 2.12, with 1e-2 2.07).
    if (balancing_ == Balancing::bias) ct::balance::update_bias(bias_.data(), choices_.statistics.load, {.rate = 1e-2});
  }
  Choices const& choices() const override { return choices_; }
  std::size_t cached_bytes() const override { return cache_.size(); }

 private:
  static constexpr bool routes = C.router.input != ct::RouterInput::given;
  ct::Inputs<config> inputs(float const* x) const {
    ct::Inputs<config> in{.x = ct::rows<H>(x, tokens_)};
    if constexpr (!routes) in.routing = routing_;
    return in;
  }
  struct alignas(64) Line { std::byte bytes[64]; };
  ct::Host const& on_;
  std::int64_t tokens_;
  Balancing balancing_;
  Choices const* followed_;
  std::size_t router_ = 0;
  std::array<std::size_t, E> gate_{}, up_{}, down_{};
  std::unique_ptr<ct::Weights<config>> raw_ = std::make_unique<ct::Weights<config>>();
  std::unique_ptr<ct::Gradients<config>> to_ = std::make_unique<ct::Gradients<config>>();
  std::vector<float> bias_ = std::vector<float>(E), dlogits_ = std::vector<float>(static_cast<std::size_t>(tokens_) * E);   // [E], [T,E]
  std::vector<Line> packed_ = std::vector<Line>((ct::Packer<config, ct::Host>::bytes() + 63) / 64);
  std::unique_ptr<ct::Layer<config, ct::Host>> layer_;
  std::vector<std::byte> cache_, workspace_;
  ct::Routing<config> routing_{};
  Choices choices_;
};

}
