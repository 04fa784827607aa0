// Parameters of one sequence mixer (attention and its relatives), biases and norms included.
#pragma once
#include <cstdint>

namespace coterie { inline namespace v0 { namespace models {

using Count = std::int64_t;

// Grouped-query attention: q, k, v, o.
constexpr Count attention(Count hidden, Count heads, Count kv_heads, Count head_dim) {
  return 2 * hidden * heads * head_dim + 2 * hidden * kv_heads * head_dim;
}
// Biases of q, k and v.
constexpr Count qkv_bias(Count heads, Count kv_heads, Count head_dim) { return (heads + 2 * kv_heads) * head_dim; }

// Multi-head latent attention (DeepSeek-V2): q through q_rank (0: directly), k and v through kv_rank.
struct Latents { Count heads, q_rank, kv_rank, nope, rope, value; };
constexpr Count latent_attention(Count hidden, Latents l) {
  Count const q_width = l.heads * (l.nope + l.rope);
  Count const q = l.q_rank ? hidden * l.q_rank + l.q_rank + l.q_rank * q_width : hidden * q_width;
  return q + hidden * (l.kv_rank + l.rope) + l.kv_rank + l.kv_rank * l.heads * (l.nope + l.value) + l.heads * l.value * hidden;
}
// The token selector beside it (DeepSeek-V3.2, GLM-5): k with its norm, q from q_rank, a weight per head.
constexpr Count lightning_indexer(Count hidden, Count q_rank, Count heads, Count head_dim) {
  return hidden * head_dim + 2 * head_dim + q_rank * heads * head_dim + hidden * heads;
}

// Gated delta net (Qwen3-Next): keys and values of their own head counts, a short convolution, a gated norm.
struct Delta { Count key_heads, value_heads, key_dim, value_dim; };
constexpr Count gated_delta_net(Count hidden, Delta d) {
  Count const key = d.key_heads * d.key_dim, value = d.value_heads * d.value_dim, taps = 4;
  return hidden * (2 * key + 2 * value) + hidden * 2 * d.value_heads + (2 * key + value) * taps
       + 2 * d.value_heads + d.value_dim + value * hidden;
}

// Mamba (Jamba: state 16, expansion 2, norms on dt, B and C).
constexpr Count mamba(Count hidden) {
  Count const inner = 2 * hidden, rank = (hidden + 15) / 16, state = 16, taps = 4;
  return hidden * 2 * inner + inner * taps + inner + inner * (rank + 2 * state) + rank * inner + inner + inner * state
       + inner + inner * hidden + rank + 2 * state;
}
// Mamba-2 (Nemotron-H).
constexpr Count mamba2(Count hidden, Count heads, Count head_dim, Count groups, Count state) {
  Count const inner = heads * head_dim, channels = inner + 2 * groups * state, taps = 4;
  return hidden * (2 * inner + 2 * groups * state + heads) + channels * taps + channels + 3 * heads + inner + inner * hidden;
}
// Lightning attention (MiniMax-01): q, k, v, output gate, out, a norm.
constexpr Count lightning_attention(Count hidden, Count heads, Count head_dim) {
  return 5 * hidden * heads * head_dim + heads * head_dim;
}
// Short convolution (LFM2): three projections in, three taps, one out.
constexpr Count short_convolution(Count hidden) { return 3 * hidden * hidden + 3 * hidden + hidden * hidden; }

}}}
