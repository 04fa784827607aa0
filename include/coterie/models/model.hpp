// A whole model: a layer, how often it occurs, and everything else that has weights. Used by footprint().
// Counts are of weights only: no multi-token-prediction heads, no vision or audio towers.
#pragma once
#include "../config.hpp"

namespace coterie { inline namespace v0 {

// What is known: released weights or a paper; reports never confirmed by the authors; nothing.
enum class Status : int { published, rumoured, undisclosed };
// What a vendor's "active parameters" leaves out.
enum class Quoted : int { active, without_input_embedding, without_embeddings };

// The figures the authors give, in units of 1e9 parameters; 0: none given.
struct Published {
  double total = 0, active = 0;
  Quoted quoted = Quoted::active;
  double tolerance = 0.012;                    // of total; active gets at least 3 %
  Status status = Status::published;
  char const* note = "";
};

struct Model {
  Config layer{};                              // layer.experts = 0: a dense model
  int layers = 0, moe_layers = 0, dense_ffn = 0;
  int heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0;
  bool tied = false;                           // the head is the input embedding
  char const* name = "";
  int dense_layers = -1;                       // dense FFNs; -1: the layers that are not MoE
  int dense_matrices = 3;                      // of one dense FFN
  int norms = 2;                               // norm vectors of width hidden per layer; one more ends the model
  std::int64_t mixer_parameters = 0;           // attention and other sequence mixers of all layers; 0: from heads
  std::int64_t extra_parameters = 0;
  std::int64_t idle_parameters = 0;            // of the mixers: not used by one token (JetMoE's attention experts)
  Published published{};
};

}}
