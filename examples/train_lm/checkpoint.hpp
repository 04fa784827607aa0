// The trained model as a folder in transformers' Mixtral layout, and that folder read back by Coterie to generate text: attention over a
// cache of keys and values (examples/block.hpp), the layers as ct::load packs them, Layer::forward. Nothing of the training's code.
#pragma once
#include "../block.hpp"
#include "train.hpp"
#include <coterie/io/checkpoint.hpp>

namespace lm {

// safetensors: 8 bytes of length, JSON, the numbers. transformers reads it with MixtralForCausalLM.from_pretrained(folder).
inline void save(Parameters const& parameters, fs::path const& folder) {
  fs::create_directories(folder);
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  for (Tensor const& t : parameters.tensors()) {
    std::string const shape = t.rows ? std::to_string(t.rows) + "," + std::to_string(t.columns) : std::to_string(t.columns);
    header += ",\"" + t.name + "\":{\"dtype\":\"F32\",\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(4 * t.first) + "," + std::to_string(4 * (t.first + t.size())) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::uint64_t const length = header.size();
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>(length >> (8 * i)));
  file << header;
  file.write(reinterpret_cast<char const*>(parameters.value(0)), static_cast<std::streamsize>(4 * parameters.size()));
  if (!file.flush()) ct::fail("cannot write " + (folder / "model.safetensors").string());
  std::ofstream(folder / "config.json")
      << "{\n  \"architectures\": [\"MixtralForCausalLM\"],\n  \"model_type\": \"mixtral\",\n  \"dtype\": \"float32\",\n  \"hidden_act\": \"silu\",\n  \"vocab_size\": " << vocabulary
      << ",\n  \"hidden_size\": " << hidden << ",\n  \"intermediate_size\": " << mixture.ffn << ",\n  \"num_hidden_layers\": " << layers
      << ",\n  \"num_attention_heads\": " << heads << ",\n  \"num_key_value_heads\": " << heads << ",\n  \"head_dim\": " << head_dim
      << ",\n  \"num_local_experts\": " << mixture.experts << ",\n  \"num_experts_per_tok\": " << mixture.top_k << ",\n  \"max_position_embeddings\": " << context
      << ",\n  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 1000000.0,\n  \"rope_parameters\": {\"rope_theta\": 1000000.0, \"rope_type\": \"default\"},\n"
         "  \"sliding_window\": null,\n  \"tie_word_embeddings\": false,\n"
         "  \"bos_token_id\": null,\n  \"eos_token_id\": null\n}\n";
}

class Speaker {
 public:
  Speaker(ct::Host const& on, fs::path const& folder) : on_(on) {
    ct::Checkpoint const from{folder.string()};
    auto const read = [&](std::string const& name) {
      ct::TensorInfo const* const tensor = from.files().find(name);
      if (!tensor) ct::fail(folder.string() + " has no tensor " + name);
      return ct::read_floats(from, *tensor);
    };
    embedding_ = read("model.embed_tokens.weight"), norm_ = read("model.norm.weight"), head_ = read("lm_head.weight");
    for (int i = 0; i < layers; ++i) {
      std::string const name = "model.layers." + std::to_string(i) + ".", attention = name + "self_attn.";
      example::BlockWeights w;
      w.norm_attention = read(name + "input_layernorm.weight"), w.norm_moe = read(name + "post_attention_layernorm.weight");
      w.q = read(attention + "q_proj.weight"), w.k = read(attention + "k_proj.weight"), w.v = read(attention + "v_proj.weight"), w.o = read(attention + "o_proj.weight");
      blocks_.push_back({std::move(w), {}, ct::load<mixture>(on, from, i)});
    }
  }
  void forget() {
    for (Block& b : blocks_) b.cache = {};
  }
  // Logits [n,256] of the bytes behind those fed so far; `layer`: what to do with x[n,H] before each layer's Ffn.
  template <class See> std::vector<float> feed(std::uint8_t const* text, int n, See const& see) {
    std::vector<float> x(static_cast<std::size_t>(n * hidden)), normal(x.size()), y(x.size()), logits(static_cast<std::size_t>(n * vocabulary));
    for (int t = 0; t < n; ++t) std::memcpy(x.data() + t * hidden, embedding_.data() + text[t] * hidden, hidden * sizeof(float));
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      Block& b = blocks_[i];
      example::attend(shape, b.weights, b.cache, x.data(), n);
      for (int t = 0; t < n; ++t) example::rms_norm(x.data() + t * hidden, b.weights.norm_moe.data(), hidden, normal.data() + t * hidden);
      ct::Layer<mixture, ct::Host> const layer{b.packed.view()};
      workspace_.resize(layer.workspace_bytes(on_, n));
      see(static_cast<int>(i), b.packed.view(), normal.data());
      layer.forward(on_, ct::rows<hidden>(static_cast<float const*>(normal.data()), n), ct::rows<hidden>(y.data(), n), workspace_);
      for (std::size_t j = 0; j < x.size(); ++j) x[j] += y[j];
    }
    for (int t = 0; t < n; ++t) {
      example::rms_norm(x.data() + t * hidden, norm_.data(), hidden, normal.data());
      example::multiply(head_.data(), normal.data(), vocabulary, hidden, logits.data() + t * vocabulary);
    }
    return logits;
  }
  std::vector<float> feed(std::uint8_t const* text, int n) {
    return feed(text, n, [](int, ct::PackedView<mixture, ct::Host>, float const*) {});
  }
  // `prompt` and what follows, byte by byte, up to `length` bytes in all; drawn at a temperature of 0.7.
  std::string say(std::string text, int length, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    forget();
    auto const* const bytes = reinterpret_cast<std::uint8_t const*>(text.data());
    std::vector<float> logits = feed(bytes, static_cast<int>(text.size()));
    while (static_cast<int>(text.size()) < length) {
      std::vector<double> weight(vocabulary);
      for (std::size_t v = 0; v < vocabulary; ++v) weight[v] = std::exp(double{logits[logits.size() - vocabulary + v]} / 0.7);
      auto const next = static_cast<std::uint8_t>(std::discrete_distribution<int>(weight.begin(), weight.end())(random));
      text += static_cast<char>(next);
      logits = feed(&next, 1);
    }
    return text;
  }

 private:
  static constexpr example::Shape shape{.hidden = hidden, .heads = heads, .kv_heads = heads, .head_dim = head_dim, .experts = mixture.experts, .top_k = mixture.top_k, .ffn = mixture.ffn};
  struct Block { example::BlockWeights weights; example::Cache cache; ct::Packed<mixture, ct::Host> packed; };
  ct::Host const& on_;
  std::vector<float> embedding_, norm_, head_;
  std::vector<Block> blocks_;
  std::vector<std::byte> workspace_;
};

// The two paths on the first held-out sequence: the largest difference of a logit, and what it may be. A number on the longest way from a
// byte to a logit is rounded `roundings` times (once for each term of each sum), on either path, by 2^-24 of the largest value each time.
// (Where a token's second and third expert tie within that, the paths may choose differently, and differ more.)
struct Agreement { double at_once, one_by_one, bound; };
inline Agreement compare_paths(Model& model, Speaker& loaded, Corpus const& corpus) {
  std::vector<std::uint8_t> input(tokens), target(tokens);
  for (int i = 0; i < sequences; ++i) corpus.held_out(i, sequences, context, input.data() + i * context, target.data() + i * context);
  model.forward(input.data(), target.data());
  loaded.forget();
  std::vector<float> const at_once = loaded.feed(input.data(), context);
  loaded.forget();
  Agreement to{};
  double largest = 0;
  for (int t = 0; t < context; ++t) {
    std::vector<float> const one = loaded.feed(input.data() + t, 1);
    for (int v = 0; v < vocabulary; ++v) {
      double const want = double{model.logits(t)[v]};
      auto const differ = [&](double got, double most) { return std::isnan(got) || std::isnan(most) ? NAN : std::max(most, std::fabs(got - want)); };
      to.at_once = differ(double{at_once[static_cast<std::size_t>(t * vocabulary + v)]}, to.at_once), to.one_by_one = differ(double{one[static_cast<std::size_t>(v)]}, to.one_by_one);
      largest = std::max(largest, std::fabs(want));
    }
  }
  constexpr double of_a_block = 4 * hidden + head_dim + context + mixture.ffn, roundings = layers * of_a_block + 2 * hidden;
  to.bound = 2 * roundings * 0x1p-24 * largest;
  return to;
}

}
