#!/usr/bin/env python3
"""Goldens made by the original implementations.   make.sh [--check] [family ...]

For each family of FAMILIES: a tiny model of that family (Hugging Face transformers), saved as a checkpoint the way a
release is, and a record of what went into its MoE block and what came out, in fp32 and in bf16. `check` then computes
the block again in float64 from the two files alone, with numpy: that half reads as the definition of every family.
"""
import argparse, itertools, json, math, os, pathlib, shutil, subprocess, sys, tempfile, zlib
from dataclasses import dataclass, replace
from typing import Callable

import ml_dtypes
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = 13
V4 = pathlib.Path(sys.prefix) / "v4"        # a transformers release 4 beside the environment's own


# ---------------------------------------------------------------------------------------------- the families

@dataclass
class Family:
    config: str                              # transformers' names
    model: str
    block: str
    size: dict                               # arguments of the config
    disk: dict                               # our word for a tensor -> its name on disk after `at`; {e} is the expert
    at: str
    route: dict                              # arguments of route()
    act: str = "swiglu"
    limit: float = math.inf                  # of the activation, where it has one
    shared_limit: float = math.inf
    layout: Callable = lambda t, f: t        # fused or transposed tensors -> gate, up: [E,f,h], down: [E,h,f]
    mix: str = "sum"                         # how the shared expert joins
    place: str = "output"                    # the routing weight scales the expert's output, or its input
    soft_cap: float = 0                      # on the logits
    scale_sum: float = 1                     # a factor on the routed sum
    capture: Callable = None                 # (block's hook data) -> logits, index, weight
    sequences: int = 1
    release: int = 5
    quantise: Callable = None                # (folder, seed): rewrites the saved checkpoint; returns dequantised matrices by name,
                                             # or none where transformers reads it into numbers itself
    bias_size: float = 0.3
    bias_mean: float = 0                     # below zero a masked group filled with 0 would win
    gain: float = 1.5                        # of the experts' matrices
    margin: float = 0.03                     # the least relative gap at the selection's edge
    wants: Callable = lambda record: True    # what the tokens must show
    router: str = None                       # class of a router that stands outside the block
    shards: str = None                       # max_shard_size
    inputs: Callable = lambda ids: dict(input_ids=ids)


def common(**more):
    return dict(vocab_size=32, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=1024,
                pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False) | more


def per_expert(gate, up, down, router="gate.weight", **more):
    return dict(router=router, gate=f"experts.{{e}}.{gate}.weight", up=f"experts.{{e}}.{up}.weight",
                down=f"experts.{{e}}.{down}.weight") | more


def shared(at="shared_experts", gate="gate_proj", up="up_proj", down="down_proj"):
    return dict(shared_gate=f"{at}.{gate}.weight", shared_up=f"{at}.{up}.weight", shared_down=f"{at}.{down}.weight")


W123 = per_expert("w1", "w3", "w2")
PROJ = per_expert("gate_proj", "up_proj", "down_proj")
BIAS = dict(select_bias="gate.e_score_correction_bias")
MLP = "model.layers.{}.mlp.".format
NOAUX = dict(pre="sigmoid", norm="add", eps=1e-20)      # DeepSeek-V3's router: sigmoid, a bias for the choice only
MLA = dict(num_key_value_heads=2, q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8)


def halves(t, f):                                        # gate_up [E,2f,h]
    t["gate"], t["up"] = np.split(t.pop("gate_up"), 2, axis=1)
    return t


def halves_in_out(t, f):                                 # gate_up [E,h,2f], down [E,f,h]
    t["gate_up"], t["down"] = t["gate_up"].swapaxes(1, 2), t["down"].swapaxes(1, 2)
    return halves(t, f)


def interleaved_in_out(t, f):                            # as that, gate and up column by column, and their biases
    wide, bias = t.pop("gate_up").swapaxes(1, 2), t.pop("gate_up_bias")
    return t | dict(gate=wide[:, ::2], up=wide[:, 1::2], gate_bias=bias[:, ::2], up_bias=bias[:, 1::2], down=t["down"].swapaxes(1, 2))


def mxfp4(t, f):                                         # blocks [E,out,in/32,16], low nibble first; scales 2^(s-127)
    value = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    for word in "gate_up", "down":
        blocks, scales = t.pop(word + "_blocks").astype(np.uint8), t.pop(word + "_scales")
        wide = np.stack([value[blocks & 15], value[blocks >> 4]], -1).reshape(*blocks.shape[:-1], 32) * 2.0 ** (scales[..., None] - 127)
        t[word] = wide.reshape(*wide.shape[:2], -1).swapaxes(1, 2)
    return interleaved_in_out(t, f)


def mxfp4_fill(folder, seed):
    """Replaces the experts' matrices of a saved gpt-oss by random MXFP4 as it is shipped; config.json says so."""
    from safetensors.numpy import save_file
    tensors, random = dict(read(folder / "model.safetensors")), np.random.default_rng(seed)
    for name in [n for n in tensors if n.endswith("_proj") and "experts" in n]:
        e, i, o = tensors.pop(name).shape
        tensors[name + "_blocks"] = random.integers(0, 256, (e, o, i // 32, 16), np.uint8)
        tensors[name + "_scales"] = random.integers(122, 126, (e, o, i // 32), np.uint8)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                                                       "model.embed_tokens", "lm_head"])
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return {}


def flat(t, f):                                          # DBRX: three times [E*f,h], w2 as w1
    block = lambda w: t[w].reshape(len(t["router"]), -1, t[w].shape[1])
    return t | dict(gate=block("gate"), up=block("up"), down=block("down").swapaxes(1, 2))


def llama4_saw(seen):
    weights, logits = seen["router"][1]
    index = logits.topk(1, dim=-1).indices
    return logits, index, weights.gather(-1, index)


def switch_saw(seen):                                    # -1: dropped
    mask, weight, logits = seen["router"][1]
    return logits, mask.argmax(-1, keepdim=True) - (mask.sum(-1, keepdim=True) == 0).long(), weight


def longcat_saw(seen):
    index, weight = seen["router"][1]
    x, w = seen["block"][0][0], seen["router.module"].classifier.weight
    return x.reshape(len(index), -1).float() @ w.float().T, index, weight


def nllb_saw(seen):                                      # -1: dropped
    weights = seen["router"][1][1]
    logits = seen["logits"][1]
    index = logits.topk(2, dim=-1).indices
    weight = weights.gather(-1, index)
    return logits, index - (index + 1) * (weight == 0), weight


def dbrx_saw(seen):
    _, weight, index = seen["router"][1]
    return seen["logits"][1], index, weight


def gemma4_saw(seen):
    return seen["logits"][1], seen["router"][1][2], seen["router"][1][1]


def jetmoe_saw(seen):
    order, _, gates, _, logits = seen["router"][1]
    k = len(gates) // len(logits)
    weight = gates.new_empty(len(gates))
    weight[order] = gates
    return logits, logits.topk(k, dim=1).indices, weight.reshape(-1, k)


FAMILIES = {
    "mixtral": Family("MixtralConfig", "MixtralForCausalLM", "MixtralSparseMoeBlock",
        common(vocab_size=256, hidden_size=128, intermediate_size=256, num_hidden_layers=1, num_local_experts=8,
               num_experts_per_tok=2, pad_token_id=None, head_dim=16),
        W123, "model.layers.0.block_sparse_moe.", dict(k=2, norm="add")),
    "qwen2_moe": Family("Qwen2MoeConfig", "Qwen2MoeForCausalLM", "Qwen2MoeSparseMoeBlock",
        common(hidden_size=48, intermediate_size=28, moe_intermediate_size=20, shared_expert_intermediate_size=36,
               num_hidden_layers=1, num_experts=10, num_experts_per_tok=4, norm_topk_prob=False),
        PROJ | shared("shared_expert") | dict(shared_mix="shared_expert_gate.weight"), MLP(0), dict(k=4), mix="gate"),
    "qwen3_moe": Family("Qwen3MoeConfig", "Qwen3MoeForCausalLM", "Qwen3MoeSparseMoeBlock",
        common(hidden_size=88, intermediate_size=56, moe_intermediate_size=10, num_hidden_layers=1, num_experts=16,
               num_experts_per_tok=3, norm_topk_prob=True, head_dim=8),
        PROJ, MLP(0), dict(k=3, norm="add")),
    "qwen3_next": Family("Qwen3NextConfig", "Qwen3NextForCausalLM", "Qwen3NextSparseMoeBlock",
        common(hidden_size=40, intermediate_size=56, moe_intermediate_size=14, shared_expert_intermediate_size=26,
               num_hidden_layers=1, num_experts=16, num_experts_per_tok=5, norm_topk_prob=True, head_dim=8,
               layer_types=["full_attention"]),
        PROJ | shared("shared_expert") | dict(shared_mix="shared_expert_gate.weight"), MLP(0), dict(k=5, norm="add"), mix="gate"),
    "olmoe": Family("OlmoeConfig", "OlmoeForCausalLM", "OlmoeSparseMoeBlock",
        common(hidden_size=64, intermediate_size=12, num_hidden_layers=1, num_experts=12, num_experts_per_tok=4, norm_topk_prob=False),
        PROJ, MLP(0), dict(k=4)),
    "deepseek_v2": Family("DeepseekV2Config", "DeepseekV2ForCausalLM", "DeepseekV2Moe",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=14, num_hidden_layers=2, n_routed_experts=16,
               num_experts_per_tok=4, n_shared_experts=2, n_group=4, topk_group=2, topk_method="group_limited_greedy",
               routed_scaling_factor=16.0, norm_topk_prob=False, first_k_dense_replace=1, **MLA),
        PROJ | shared(), MLP(1), dict(k=4, groups=4, keep=2, stat="max", fill=0.0, scale=16.0)),
    "deepseek_v3": Family("DeepseekV3Config", "DeepseekV3ForCausalLM", "DeepseekV3MoE",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=14, num_hidden_layers=2, n_routed_experts=16,
               num_experts_per_tok=4, n_shared_experts=1, n_group=4, topk_group=2, routed_scaling_factor=2.5,
               norm_topk_prob=True, first_k_dense_replace=1, **MLA),
        PROJ | shared() | BIAS, MLP(1), NOAUX | dict(k=4, groups=4, keep=2, scale=2.5), shards="32KB", bias_mean=-0.8),
    "gpt_oss": Family("GptOssConfig", "GptOssForCausalLM", "GptOssMLP",
        common(hidden_size=72, intermediate_size=20, num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=3,
               head_dim=8, layer_types=["full_attention"]),
        dict(router="router.weight", router_bias="router.bias", gate_up="experts.gate_up_proj", gate_up_bias="experts.gate_up_proj_bias",
             down="experts.down_proj", down_bias="experts.down_proj_bias"),
        MLP(0), dict(k=3, pre="identity", post="softmax"), act="oai", limit=7.0, shared_limit=7.0, layout=interleaved_in_out, gain=2.5),
    "gpt_oss_mxfp4": Family("GptOssConfig", "GptOssForCausalLM", "GptOssMLP",
        common(hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=3,
               head_dim=8, layer_types=["full_attention"]),
        dict(router="router.weight", router_bias="router.bias", gate_up_blocks="experts.gate_up_proj_blocks",
             gate_up_scales="experts.gate_up_proj_scales", gate_up_bias="experts.gate_up_proj_bias",
             down_blocks="experts.down_proj_blocks", down_scales="experts.down_proj_scales", down_bias="experts.down_proj_bias"),
        MLP(0), dict(k=3, pre="identity", post="softmax"), act="oai", limit=7.0, layout=mxfp4, quantise=mxfp4_fill),
    "llama4": Family("Llama4TextConfig", "Llama4ForCausalLM", "Llama4TextMoe",
        common(hidden_size=48, intermediate_size=28, intermediate_size_mlp=36, num_hidden_layers=1, num_local_experts=6,
               num_experts_per_tok=1, interleave_moe_layer_step=1, head_dim=12, layer_types=["full_attention"]),
        dict(router="router.weight", gate_up="experts.gate_up_proj", down="experts.down_proj") | shared("shared_expert"),
        "model.layers.0.feed_forward.", dict(k=1, pre="identity", post="sigmoid"), layout=halves_in_out, place="input",
        capture=llama4_saw),
    "dbrx": Family("DbrxConfig", "DbrxForCausalLM", "DbrxFFN",
        dict(d_model=40, n_heads=4, n_layers=1, max_seq_len=64, vocab_size=32, tie_word_embeddings=False,
             attn_config=dict(kv_n_heads=2, clip_qkv=8.0, rope_theta=500000.0),
             ffn_config=dict(ffn_act_fn={"name": "silu"}, ffn_hidden_size=28, moe_num_experts=8, moe_top_k=3,
                             moe_normalize_expert_weights=1.0)),
        dict(router="router.layer.weight", gate="experts.mlp.w1", up="experts.mlp.v1", down="experts.mlp.w2"),
        "transformer.blocks.0.ffn.", dict(k=3, norm="add"), layout=flat, capture=dbrx_saw, release=4),
    "glm4_moe": Family("Glm4MoeConfig", "Glm4MoeForCausalLM", "Glm4MoeMoE",
        common(hidden_size=48, intermediate_size=28, moe_intermediate_size=18, num_hidden_layers=2, n_routed_experts=8,
               num_experts_per_tok=4, n_shared_experts=1, n_group=1, topk_group=1, routed_scaling_factor=1.5,
               norm_topk_prob=True, first_k_dense_replace=1, head_dim=12),
        PROJ | shared() | BIAS, MLP(1), NOAUX | dict(k=4, scale=1.5)),
    "minimax": Family("MiniMaxConfig", "MiniMaxForCausalLM", "MiniMaxSparseMoeBlock",
        common(hidden_size=56, intermediate_size=22, num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=2,
               head_dim=8, layer_types=["full_attention"]),
        W123, "model.layers.0.block_sparse_moe.", dict(k=2, norm="add")),
    "hunyuan_v1_moe": Family("HunYuanMoEV1Config", "HunYuanMoEV1ForCausalLM", "HunYuanMoEV1Moe",
        common(hidden_size=48, intermediate_size=22, num_hidden_layers=1, num_experts=8, moe_topk=3, head_dim=12),
        PROJ | shared("shared_mlp") | dict(router="gate.wg.weight"), MLP(0), dict(k=3, norm="add")),
    "phimoe": Family("PhimoeConfig", "PhimoeForCausalLM", "PhimoeSparseMoeBlock",
        common(hidden_size=40, intermediate_size=30, num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=2),
        W123, "model.layers.0.block_sparse_moe.", dict(k=2, mixer=0.01), margin=0.006,
        wants=lambda r: (r["fp32.topk_weight"] < 0.9).sum() >= 2),
    "switch_transformers": Family("SwitchTransformersConfig", "SwitchTransformersEncoderModel", "SwitchTransformersSparseMLP",
        dict(vocab_size=32, d_model=40, d_kv=10, d_ff=52, num_heads=4, num_layers=2, num_sparse_encoder_layers=1,
             num_decoder_layers=0, num_sparse_decoder_layers=0, num_experts=4, expert_capacity=4, tie_word_embeddings=False),
        dict(router="router.classifier.weight", up="experts.expert_{e}.wi.weight", down="experts.expert_{e}.wo.weight"),
        "encoder.block.1.layer.1.mlp.", dict(k=1, capacity=4), act="relu", capture=switch_saw, sequences=2),
    "nllb_moe": Family("NllbMoeConfig", "NllbMoeForConditionalGeneration", "NllbMoeSparseMLP",
        dict(vocab_size=32, d_model=40, encoder_layers=1, encoder_sparse_step=1, encoder_ffn_dim=36, encoder_attention_heads=2,
             decoder_layers=1, decoder_sparse_step=0, decoder_ffn_dim=12, decoder_attention_heads=2, num_experts=4,
             moe_eval_capacity_token_fraction=0.35, moe_token_dropout=0.2, max_position_embeddings=64),
        dict(router="router.classifier.weight", up="experts.expert_{e}.fc1.weight", up_bias="experts.expert_{e}.fc1.bias",
             down="experts.expert_{e}.fc2.weight", down_bias="experts.expert_{e}.fc2.bias"),
        "model.encoder.layers.0.ffn.", dict(k=2, capacity=10, pool=True, norm="kept"), act="relu", scale_sum=0.8,
        capture=nllb_saw, sequences=2, release=4, inputs=lambda ids: dict(input_ids=ids, decoder_input_ids=ids)),
    "granitemoe": Family("GraniteMoeConfig", "GraniteMoeForCausalLM", "GraniteMoeMoE",
        common(hidden_size=48, intermediate_size=28, num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=3,
               residual_multiplier=0.22, embedding_multiplier=12.0),
        dict(router="router.layer.weight", gate_up="input_linear.weight", down="output_linear.weight"),
        "model.layers.0.block_sparse_moe.", dict(k=3, pre="identity", post="softmax"), layout=halves),
    "jamba": Family("JambaConfig", "JambaForCausalLM", "JambaSparseMoeBlock",
        common(hidden_size=56, intermediate_size=22, num_hidden_layers=1, num_experts=8, num_experts_per_tok=2,
               attn_layer_period=1, attn_layer_offset=0, expert_layer_period=1, expert_layer_offset=0, use_mamba_kernels=False),
        PROJ | dict(router="router.weight"), "model.layers.0.feed_forward.", dict(k=2)),
    "ernie4_5_moe": Family("Ernie4_5_MoeConfig", "Ernie4_5_MoeForCausalLM", "Ernie4_5_MoeSparseMoeBlock",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=14, num_hidden_layers=2, moe_num_experts=12,
               moe_k=4, moe_num_shared_experts=2, moe_layer_start_index=1, moe_layer_end_index=1),
        PROJ | shared() | dict(select_bias="moe_statics.e_score_correction_bias"), MLP(1), dict(k=4, norm="clamp", eps=1e-12), bias_size=0.05),
    "lfm2_moe": Family("Lfm2MoeConfig", "Lfm2MoeForCausalLM", "Lfm2MoeSparseMoeBlock",
        common(hidden_size=48, intermediate_size=28, moe_intermediate_size=22, num_hidden_layers=1, num_experts=8,
               num_experts_per_tok=3, num_dense_layers=0, use_expert_bias=True, norm_topk_prob=True, layer_types=["full_attention"]),
        W123 | dict(select_bias="expert_bias"), "model.layers.0.feed_forward.", NOAUX | dict(k=3, eps=1e-6)),
    "longcat_flash": Family("LongcatFlashConfig", "LongcatFlashForCausalLM", "LongcatFlashMoE",
        common(hidden_size=40, ffn_hidden_size=28, expert_ffn_hidden_size=18, num_layers=1, n_routed_experts=8,
               zero_expert_num=4, moe_topk=4, routed_scaling_factor=6.0, head_dim=8, **MLA | dict(q_lora_rank=16)),
        PROJ | dict(router="router.classifier.weight", select_bias="router.e_score_correction_bias"), MLP(0),
        dict(k=4, scale=6.0), bias_size=0.05, capture=longcat_saw, release=4),
    "dots1": Family("Dots1Config", "Dots1ForCausalLM", "Dots1MoE",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=14, num_hidden_layers=2, n_routed_experts=8,
               num_experts_per_tok=3, n_shared_experts=2, n_group=1, topk_group=1, routed_scaling_factor=2.5,
               norm_topk_prob=True, first_k_dense_replace=1),
        PROJ | shared() | BIAS, MLP(1), NOAUX | dict(k=3, scale=2.5)),
    "minimax_m2": Family("MiniMaxM2Config", "MiniMaxM2ForCausalLM", "MiniMaxM2SparseMoeBlock",
        common(hidden_size=48, intermediate_size=14, num_hidden_layers=1, num_local_experts=16, num_experts_per_tok=4, head_dim=8),
        W123 | dict(select_bias="e_score_correction_bias"), "model.layers.0.block_sparse_moe.", NOAUX | dict(k=4, eps=0.0)),
    "jetmoe": Family("JetMoeConfig", "JetMoeForCausalLM", "JetMoeMoE",
        common(hidden_size=40, intermediate_size=26, num_hidden_layers=1, num_local_experts=6, num_experts_per_tok=2,
               num_key_value_heads=1, kv_channels=8),
        dict(router="router.layer.weight", gate_up="input_linear.weight", down="output_linear.weight", output_bias="bias"),
        MLP(0), dict(k=2, pre="identity", post="softmax"), layout=halves, capture=jetmoe_saw),
    "aria": Family("AriaTextConfig", "AriaTextForCausalLM", "AriaTextMoELayer",
        common(hidden_size=48, intermediate_size=22, num_hidden_layers=1, moe_num_experts=8, moe_topk=3, moe_num_shared_experts=2),
        dict(router="router.weight", gate_up="experts.fc1.weight", down="experts.fc2.weight") | shared(),
        MLP(0), dict(k=3, pre="identity", post="softmax"), layout=halves_in_out),
    "afmoe": Family("AfmoeConfig", "AfmoeForCausalLM", "AfmoeSparseMoeBlock",
        common(hidden_size=48, intermediate_size=28, moe_intermediate_size=18, num_hidden_layers=1, num_experts=10,
               num_experts_per_tok=3, num_shared_experts=1, num_dense_layers=0, route_scale=2.826, head_dim=12,
               layer_types=["full_attention"]),
        PROJ | shared() | dict(router="router.gate.weight", select_bias="expert_bias"), MLP(0), NOAUX | dict(k=3, scale=2.826)),
    "nemotron_h": Family("NemotronHConfig", "NemotronHForCausalLM", "NemotronHMoE",
        common(hidden_size=48, intermediate_size=52, moe_intermediate_size=30, moe_shared_expert_intermediate_size=44,
               layers_block_type=["attention", "moe"], n_routed_experts=8, num_experts_per_tok=3, n_group=1, topk_group=1,
               routed_scaling_factor=2.5, norm_topk_prob=True, head_dim=12, use_mamba_kernels=False),
        dict(router="gate.weight", up="experts.{e}.up_proj.weight", down="experts.{e}.down_proj.weight",
             shared_up="shared_experts.up_proj.weight", shared_down="shared_experts.down_proj.weight") | BIAS,
        "backbone.layers.1.mixer.", NOAUX | dict(k=3, scale=2.5), act="relu2", gain=1.0),
    "exaone_moe": Family("ExaoneMoeConfig", "ExaoneMoeForCausalLM", "ExaoneMoeSparseMoEBlock",
        common(hidden_size=56, intermediate_size=28, moe_intermediate_size=14, num_hidden_layers=2, num_experts=8,
               num_experts_per_tok=3, num_shared_experts=1, n_group=1, topk_group=1, routed_scaling_factor=2.5,
               norm_topk_prob=True, first_k_dense_replace=1, head_dim=8, layer_types=["full_attention"] * 2,
               mlp_layer_types=["dense", "sparse"]),
        PROJ | shared() | dict(select_bias="e_score_correction_bias"), MLP(1), NOAUX | dict(k=3, scale=2.5)),
    "flex_olmo": Family("FlexOlmoConfig", "FlexOlmoForCausalLM", "FlexOlmoSparseMoeBlock",
        common(hidden_size=40, intermediate_size=34, num_hidden_layers=1, num_experts=7, num_experts_per_tok=5, norm_topk_prob=False),
        PROJ, MLP(0), dict(k=5)),
    "mistral4": Family("Mistral4Config", "Mistral4ForCausalLM", "Mistral4MoE",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=18, num_hidden_layers=2, n_routed_experts=12,
               num_experts_per_tok=3, n_shared_experts=1, n_group=3, topk_group=2, routed_scaling_factor=1.0,
               norm_topk_prob=True, first_k_dense_replace=1, **MLA | dict(q_lora_rank=16)),
        dict(router="gate.weight", gate_up="experts.gate_up_proj", down="experts.down_proj") | shared(),
        MLP(1), dict(k=3, groups=3, keep=2, fill=0.0, norm="add", eps=1e-20), layout=halves),
    "laguna": Family("LagunaConfig", "LagunaForCausalLM", "LagunaSparseMoeBlock",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=18, shared_expert_intermediate_size=22,
               num_hidden_layers=1, num_experts=12, num_experts_per_tok=3, head_dim=8, layer_types=["full_attention"],
               mlp_layer_types=["sparse"], num_attention_heads_per_layer=[2], moe_router_logit_softcapping=2.0,
               moe_routed_scaling_factor=2.5),
        PROJ | shared("shared_expert") | dict(select_bias="experts.e_score_correction_bias"), MLP(0),
        NOAUX | dict(k=3, eps=0.0), soft_cap=2.0, scale_sum=2.5),
    "hy_v3": Family("HYV3Config", "HYV3ForCausalLM", "HYV3MoE",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=14, num_hidden_layers=2, num_experts=8,
               num_experts_per_tok=3, num_shared_experts=1, router_scaling_factor=2.826, head_dim=8, first_k_dense_replace=1,
               enable_moe_fp32_combine=True),
        PROJ | shared("shared_mlp") | dict(router="router.gate.weight", select_bias="expert_bias"), MLP(1), NOAUX | dict(k=3, scale=2.826)),
    "mimo_v2_flash": Family("MiMoV2FlashConfig", "MiMoV2FlashForCausalLM", "MiMoV2FlashMoE",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=18, num_hidden_layers=1, n_routed_experts=8,
               num_experts_per_tok=3, n_group=1, topk_group=1, routed_scaling_factor=1.0, norm_topk_prob=True, head_dim=8,
               v_head_dim=8, layer_types=["full_attention"], mlp_layer_types=["sparse"]),
        PROJ | BIAS, MLP(0), NOAUX | dict(k=3)),
    "cohere2_moe": Family("Cohere2MoeConfig", "Cohere2MoeForCausalLM", "Cohere2MoeSparseMoeBlock",
        common(hidden_size=40, intermediate_size=22, num_hidden_layers=1, num_experts=8, num_experts_per_tok=3, head_dim=8,
               num_shared_experts=1, shared_expert_combination_strategy="average", expert_selection_fn="sigmoid",
               norm_topk_prob=True, layer_types=["full_attention"], first_k_dense_replace=0),
        PROJ | shared(), MLP(0), dict(k=3, pre="identity", post="sigmoid", norm="add"), mix="average"),
    "minimax_m3": Family("MiniMaxM3VLConfig", "MiniMaxM3SparseForConditionalGeneration", "MiniMaxM3VLSparseMoeBlock",
        dict(text_config=common(hidden_size=40, intermediate_size=22, dense_intermediate_size=28, shared_intermediate_size=26,
                                num_hidden_layers=1, num_local_experts=8, num_experts_per_tok=3, head_dim=8, routed_scaling_factor=2.0,
                                layer_types=["full_attention"], mlp_layer_types=["sparse"]),
             vision_config=dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, patch_size=2,
                                image_size=8), projector_hidden_size=8, image_token_index=1, video_token_index=2),
        W123 | shared("shared_experts") | dict(select_bias="e_score_correction_bias"),
        "language_model.model.layers.0.block_sparse_moe.", NOAUX | dict(k=3, eps=0.0), act="oai", limit=7.0, shared_limit=7.0, scale_sum=2.0, gain=2.5),
    "step3p7": Family("Step3p7Config", "Step3p7ForConditionalGeneration", "Step3p7SparseMoeBlock",
        dict(text_config=common(hidden_size=40, intermediate_size=28, moe_intermediate_size=22, share_expert_dim=26,
                                num_hidden_layers=1, n_routed_experts=8, num_experts_per_tok=3, head_dim=8,
                                moe_router_scaling_factor=3.0, layer_types=["full_attention"], mlp_layer_types=["sparse"],
                                sliding_window=16, swiglu_limits=[2.0], swiglu_limits_shared=[1.5]),
             vision_config=dict(hidden_size=8, mlp_ratio=0.5, num_hidden_layers=1, num_attention_heads=2, patch_size=2, image_size=8),
             image_token_id=1),
        dict(router="gate.weight", select_bias="router_bias", gate="gate_proj.weight", up="up_proj.weight", down="down_proj.weight",
             shared_gate="^share_expert.gate_proj.weight", shared_up="^share_expert.up_proj.weight",
             shared_down="^share_expert.down_proj.weight"),
        "model.layers.0.moe.", NOAUX | dict(k=3, eps=0.0), act="clamp_after", limit=2.0, shared_limit=1.5, scale_sum=3.0),
    "deepseek_v4": Family("DeepseekV4Config", "DeepseekV4Model", "DeepseekV4SparseMoeBlock",
        common(hidden_size=40, moe_intermediate_size=22, num_hidden_layers=1, n_routed_experts=12, num_experts_per_tok=3,
               num_key_value_heads=1, head_dim=8, hc_mult=2, q_lora_rank=16, o_lora_rank=8, o_groups=2, routed_scaling_factor=1.5,
               layer_types=["sliding_attention"], mlp_layer_types=["moe"], swiglu_limit=2.0),
        per_expert("w1", "w3", "w2") | shared("shared_experts", "w1", "w3", "w2") | dict(select_bias="gate.bias"),
        "layers.0.ffn.", NOAUX | dict(pre="sqrtsoftplus", k=3, scale=1.5), act="clamp_before", limit=2.0, shared_limit=2.0),
    "deepseek_v4_hash": Family("DeepseekV4Config", "DeepseekV4Model", "DeepseekV4SparseMoeBlock",
        common(hidden_size=40, moe_intermediate_size=22, num_hidden_layers=1, n_routed_experts=12, num_experts_per_tok=3,
               num_key_value_heads=1, head_dim=8, hc_mult=2, q_lora_rank=16, o_lora_rank=8, o_groups=2, routed_scaling_factor=1.5,
               layer_types=["sliding_attention"], mlp_layer_types=["hash_moe"], swiglu_limit=2.0),
        per_expert("w1", "w3", "w2") | shared("shared_experts", "w1", "w3", "w2") | dict(table="gate.tid2eid"),
        "layers.0.ffn.", NOAUX | dict(pre="sqrtsoftplus", k=3, scale=1.5), act="clamp_before", limit=2.0, shared_limit=2.0),
    "nemotron_h_latent": Family("NemotronHConfig", "NemotronHForCausalLM", "NemotronHMoE",
        common(hidden_size=48, intermediate_size=28, moe_intermediate_size=30, moe_shared_expert_intermediate_size=20, moe_latent_size=20,
               layers_block_type=["attention", "moe"], n_routed_experts=8, num_experts_per_tok=3, n_group=1, topk_group=1,
               routed_scaling_factor=2.5, norm_topk_prob=True, head_dim=8, use_mamba_kernels=False),
        dict(router="gate.weight", up="experts.{e}.up_proj.weight", down="experts.{e}.down_proj.weight",
             latent_in="fc1_latent_proj.weight", latent_out="fc2_latent_proj.weight",
             shared_up="shared_experts.up_proj.weight", shared_down="shared_experts.down_proj.weight") | BIAS,
        "backbone.layers.1.mixer.", NOAUX | dict(k=3, scale=2.5), act="relu2", gain=1.0),
    "gemma4": Family("Gemma4TextConfig", "Gemma4ForCausalLM", "Gemma4TextExperts",
        common(hidden_size=40, intermediate_size=28, moe_intermediate_size=22, num_hidden_layers=1, num_experts=8, top_k_experts=3,
               enable_moe_block=True, head_dim=8, global_head_dim=8, layer_types=["full_attention"], hidden_size_per_layer_input=0,
               vocab_size_per_layer_input=40, num_kv_shared_layers=0),
        dict(router="router.proj.weight", router_scale="router.scale", expert_scale="router.per_expert_scale",
             gate_up="experts.gate_up_proj", down="experts.down_proj"),
        "model.layers.0.", dict(k=3, norm="add"), act="geglu", layout=halves, router="Gemma4TextRouter", capture=gemma4_saw),
}


def with_experts(family, quantise, size, route={}, **more):
    """A family in other sizes, its experts packed by a format of quantise.py."""
    def late(folder, seed):
        import quantise as formats
        return quantise(formats)(folder, seed)
    f = FAMILIES[family]
    return replace(f, size=f.size | size, route=f.route | route, quantise=late, shards=None, **more)


def qwen3_moe(quantise, hidden=96, ffn=32):
    return with_experts("qwen3_moe", quantise, dict(hidden_size=hidden, moe_intermediate_size=ffn, num_experts=4, num_experts_per_tok=2), dict(k=2))


V3 = dict(size=dict(hidden_size=128, intermediate_size=64, moe_intermediate_size=64, n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1),
          route=dict(k=2, groups=1, keep=1), bias_mean=0)
FAMILIES |= {
    "quantised/deepseek_v3_fp8": with_experts("deepseek_v3", lambda q: q.fp8_blocks(32, 64), **V3),
    "quantised/deepseek_v3_packed": with_experts("deepseek_v3", lambda q: q.compressed("pack-quantized", num_bits=4, strategy="group", group_size=32), **V3),
    "quantised/qwen3_moe_packed_zeros": qwen3_moe(lambda q: q.compressed("pack-quantized", num_bits=4, strategy="group", group_size=32, symmetric=False)),
    "quantised/qwen3_moe_packed_rows": qwen3_moe(lambda q: q.compressed("pack-quantized", num_bits=4, strategy="channel", symmetric=False), 92, 36),
    "quantised/qwen3_moe_packed_int8": qwen3_moe(lambda q: q.compressed("pack-quantized", num_bits=8, strategy="group", group_size=32)),
    "quantised/qwen3_moe_fp8_rows": qwen3_moe(lambda q: q.compressed("float-quantized", num_bits=8, type="float", strategy="channel")),
    "quantised/qwen3_moe_fp8_ragged": qwen3_moe(lambda q: q.compressed("float-quantized", num_bits=8, type="float", strategy="block", block_structure=[24, 64])),
    "quantised/qwen3_moe_int8_rows": qwen3_moe(lambda q: q.compressed("int-quantized", num_bits=8, strategy="channel")),
    "quantised/qwen3_moe_mxfp4": qwen3_moe(lambda q: q.compressed("mxfp4-pack-quantized", num_bits=4, type="float", strategy="group", group_size=32)),
    "quantised/qwen3_moe_awq": qwen3_moe(lambda q: q.awq),
    "quantised/qwen3_moe_gptq": qwen3_moe(lambda q: q.gptq(4, True, "gptq")),
    "quantised/qwen3_moe_gptq_zeros": qwen3_moe(lambda q: q.gptq(4, False, "gptq")),
    "quantised/qwen3_moe_gptq_v2": qwen3_moe(lambda q: q.gptq(8, False, "gptq_v2")),
}


# ---------------------------------------------------------------------------------------------- the definition, float64

def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def order(v):
    return np.argsort(-v, axis=-1, kind="stable")


def gap(v, k):
    """How far apart, relatively, the k-th and the next are: what rounding must not bridge."""
    s = -np.sort(-v, axis=-1)
    return np.inf if k >= v.shape[-1] else ((s[:, k - 1] - s[:, k]) / np.maximum(np.abs(s[:, k - 1]), 0.1)).min()


SCORE = dict(identity=lambda z: z, softmax=softmax, sigmoid=sigmoid, sqrtsoftplus=lambda z: np.sqrt(np.logaddexp(0, z)))


def route(z, k, pre="softmax", bias=None, groups=1, keep=1, stat="top2sum", fill=-np.inf, post=None,
          norm=None, eps=0.0, scale=1.0, chosen=None, expert_scale=None, capacity=None, sequences=1, pool=False):
    score = SCORE[pre](z)
    choice = score if bias is None else score + bias
    margin = np.inf
    if groups > 1:
        blocks = choice.reshape(len(z), groups, -1)
        value = blocks.max(-1) if stat == "max" else np.sort(blocks, axis=-1)[..., -2:].sum(-1)
        margin = gap(value, keep)
        kept = np.zeros(value.shape, bool)
        np.put_along_axis(kept, order(value)[:, :keep], True, -1)
        choice = np.where(kept[:, :, None], blocks, fill).reshape(z.shape)
    index = order(choice)[:, :k] if chosen is None else chosen
    margin = min(margin, gap(choice, k), gap(choice, 1) if capacity else np.inf) if chosen is None else margin
    weight = np.take_along_axis(score, index, -1)                       # without the bias
    weight = SCORE[post](weight) if post else weight
    if norm == "add":
        weight = weight / (weight.sum(-1, keepdims=True) + eps)
    if norm == "clamp":
        weight = weight / np.maximum(weight.sum(-1, keepdims=True), eps)
    if capacity:                             # places are given in order, all first choices before any second; none left: -1
        index, length = index.copy(), len(z) // (1 if pool else sequences)
        for start in range(0, len(z), length):
            taken = np.zeros(z.shape[1], int)
            for j, i in itertools.product(range(k), range(start, start + length)):
                taken[index[i, j]] += 1
                index[i, j] = index[i, j] if taken[index[i, j]] <= capacity else -1
    if norm == "kept":
        weight = np.where(index < 0, 0, weight)
        weight = weight / np.maximum(weight.sum(-1, keepdims=True), 2.0 ** -23)
    return index, weight * scale * (1 if expert_scale is None else expert_scale[index]), margin


def sparse_mixer(z, eps):
    """Phi-3.5-MoE, not training: twice the largest; its weight is a softmax over those within 2 eps of it, relatively."""
    left, index, weight, margin = z.copy(), [], [], np.inf
    for _ in range(2):
        top = left.max(-1, keepdims=True)
        index.append(left.argmax(-1))
        ratio = (top - z) / np.maximum(np.abs(z), top)                  # of the logits as they came, also in round two
        near = np.where((ratio > 2 * eps) | np.isinf(left), -np.inf, left)
        weight.append(np.take_along_axis(softmax(near), index[-1][:, None], -1)[:, 0])
        margin = min(margin, gap(left, 1), np.abs(ratio - 2 * eps).min() * 2)
        np.put_along_axis(left, index[-1][:, None], -np.inf, -1)
    return np.stack(index, 1), np.stack(weight, 1), margin


ACT = dict(                                                             # l: the limit
    swiglu=lambda g, u, l: g * sigmoid(g) * u,
    geglu=lambda g, u, l: 0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g ** 3))) * u,
    oai=lambda g, u, l: np.minimum(g, l) * sigmoid(1.702 * np.minimum(g, l)) * (np.clip(u, -l, l) + 1),
    clamp_before=lambda g, u, l: np.minimum(g, l) * sigmoid(np.minimum(g, l)) * np.clip(u, -l, l),
    clamp_after=lambda g, u, l: np.minimum(g * sigmoid(g), l) * np.clip(u, -l, l),
    relu=lambda g, u, l: np.maximum(u, 0),
    relu2=lambda g, u, l: np.maximum(u, 0) ** 2,
)


def definition(f, t, x, router_x=None, token_ids=None):
    """One MoE block: t is our word -> float64 array."""
    rx = x if router_x is None else router_x
    if "router_scale" in t:                                             # Gemma 4
        rx = rx / np.sqrt((rx ** 2).mean(-1, keepdims=True) + 1e-6) * t["router_scale"] * x.shape[1] ** -0.5
    z = rx @ t["router"].T + t.get("router_bias", 0)
    if f.soft_cap:
        z = np.tanh(z / f.soft_cap) * f.soft_cap
    if "mixer" in f.route:
        index, weight, margin = sparse_mixer(z, f.route["mixer"])
    else:
        chosen = t["table"][token_ids].astype(int) if "table" in t else None
        index, weight, margin = route(z, bias=t.get("select_bias"), chosen=chosen, expert_scale=t.get("expert_scale"),
                                      sequences=f.sequences, **f.route)

    def mlp(v, limit, gate, up, down, bias=(0, 0, 0)):
        g = None if gate is None else gate @ v + bias[0]
        return down @ ACT[f.act](g, up @ v + bias[1], limit) + bias[2]

    def expert(e, v):
        if e >= len(t["up"]):
            return v                                                    # LongCat's identity experts
        gate = t["gate"][e] if "gate" in t else None
        return mlp(v, f.limit, gate, t["up"][e], t["down"][e], [t[b][e] if b in t else 0 for b in ("gate_bias", "up_bias", "down_bias")])

    y = np.zeros_like(x)
    down_first, up_again = ((lambda v, m=t[m]: m @ v) if m in t else (lambda v: v) for m in ("latent_in", "latent_out"))
    for i, row in enumerate(x):
        inner = down_first(row)
        routed = np.zeros_like(inner)
        for e, w in zip(index[i], weight[i]):
            if e >= 0:
                routed += expert(e, inner * w) if f.place == "input" else w * expert(e, inner)
        y[i] = up_again(routed) * f.scale_sum + t.get("output_bias", 0)
        if "shared_up" in t:
            s = mlp(row, f.shared_limit, t.get("shared_gate"), t["shared_up"], t["shared_down"])
            y[i] += s * sigmoid(t["shared_mix"] @ row) if f.mix == "gate" else s
            y[i] *= 0.5 if f.mix == "average" else 1
    return z, index, weight, y, margin


# ---------------------------------------------------------------------------------------------- files

DTYPES = dict(F32=np.float32, BF16=ml_dtypes.bfloat16, F64=np.float64, I32=np.int32, I64=np.int64, F16=np.float16, U8=np.uint8, I8=np.int8,
              F8_E4M3=ml_dtypes.float8_e4m3fn)


def read(path):
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:end])
    head.pop("__metadata__", None)
    return {name: np.frombuffer(raw[end + a["data_offsets"][0]:end + a["data_offsets"][1]], DTYPES[a["dtype"]]).reshape(a["shape"])
            for name, a in head.items()}


def checkpoint(folder):
    return {k: v for p in sorted(folder.glob("model*.safetensors")) for k, v in read(p).items()}


def beside(at, name):                                    # a name that starts with ^ belongs to the block's parent
    return at.rstrip(".").rpartition(".")[0] + "." + name[1:] if name[0] == "^" else at + name


def words(f, tensors):
    t, wide = {}, lambda name: tensors[beside(f.at, name)].astype(np.float64)
    for word, name in f.disk.items():
        if "{e}" in name:
            here = itertools.takewhile(lambda e: f.at + name.format(e=e) in tensors, itertools.count())
            t[word] = np.stack([wide(name.format(e=e)) for e in here])
        else:
            t[word] = wide(name)
    return f.layout(t, f)


def check(name, folder, quiet=False):
    """Largest error of y and of the weights, relative to the largest value, and the selection margin; asserts the indices."""
    f, r = FAMILIES[name], read(folder / "record.safetensors")
    t = words(f, checkpoint(folder) | r)                 # a quantised matrix is in the record as the original read it
    result = {}
    for dtype in "fp32", "bf16":
        x, y, w, i = (r[f"{dtype}.{n}"] for n in ("x", "y", "topk_weight", "topk_index"))
        extra = lambda n: r[f"{dtype}.{n}"].astype(np.float64) if f"{dtype}.{n}" in r else None
        z, index, weight, mine, margin = definition(f, t, x.astype(np.float64), extra("router_x"), r["token_ids"])

        def dense(index, weight):
            d = np.zeros((len(index), z.shape[1] + 1))
            np.put_along_axis(d, index.astype(np.int64), weight.astype(np.float64), -1)
            return d[:, :-1]
        same = np.array_equal(np.sort(index, -1), np.sort(i, -1))
        error = lambda a, b: np.abs(a.astype(np.float64) - b).max() / np.abs(b).max()
        result[dtype] = dict(same=same, margin=margin, z=error(r[f"{dtype}.logits"], z),
                             w=error(dense(i, w), dense(index, weight)), y=error(y, mine), rms=np.sqrt((mine ** 2).mean()))
    if not quiet:
        a, b = result["fp32"], result["bf16"]
        print(f"{name:32} fp32: logits {a['z']:.1e} weights {a['w']:.1e} y {a['y']:.1e}   bf16: logits {b['z']:.1e} weights "
              f"{b['w']:.1e} y {b['y']:.1e}   margin {min(a['margin'], b['margin']):.3f} rms {a['rms']:.2f}"
              f"{'' if a['same'] and b['same'] else '   OTHER EXPERTS'}")
        assert a["same"] and max(a["z"], a["w"], a["y"]) < 5e-6 and b["same"] and b["y"] < 3e-2, name
    return result


# ---------------------------------------------------------------------------------------------- the originals

def fill(model, f, seed):
    """Values keyed by (seed, name), not by the order of modules: O(1) outputs, well spread logits, no zero biases."""
    import torch
    block = next(n for n, m in model.named_modules() if type(m).__name__ == f.block)
    linear = {n for n, m in model.named_modules() if isinstance(m, (torch.nn.Linear, torch.nn.Embedding))}
    with torch.no_grad():
        for name, p in itertools.chain(model.named_parameters(), model.named_buffers()):
            if name.endswith("tid2eid"):
                generator = np.random.default_rng(seed)
                p.copy_(torch.from_numpy(np.stack([generator.permutation(f.size["n_routed_experts"])[:p.shape[1]] for _ in p])))
            if not p.is_floating_point() or "inv_freq" in name:
                continue
            n = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(p.shape)
            inside, owner = name.startswith(block + "."), name.rpartition(".")[0]
            if "norm" in name and p.dim() == 1:
                v = p.numpy() + 0.1 * n
            elif ".router." in name and name.endswith("scale"):
                v = 1 + 0.3 * n
            elif name.endswith("router.proj.weight"):
                v = 1.5 * n                                  # Gemma 4 has the 1/sqrt(h) in its definition
            elif inside and "bias" in name:
                v = f.bias_size * n + f.bias_mean
            elif inside:
                v = n * (f.gain if "expert" in name else 1.5) / math.sqrt(p.shape[-1])
            elif owner in linear and p.dim() == 2:
                v = n if "embed" in name or name.startswith("shared") or "wte" in name else n / math.sqrt(p.shape[-1])
            else:
                continue
            p.copy_(torch.from_numpy(np.asarray(v, np.float32)))


def run(f, model, ids):
    """One forward pass; what the hooks saw of the MoE block."""
    import torch
    block = next(m for m in model.modules() if type(m).__name__ == f.block)
    seen = {}

    def watch(word, module):
        seen[word + ".module"] = module
        def hook(module, args, kwargs, out):
            seen[word] = list(args) + list(kwargs.values()), out
        module.register_forward_hook(hook, with_kwargs=True)
    watch("block", block)
    router = next((m for m in model.modules() if type(m).__name__ == f.router), None) or getattr(block, "gate", None) or block.router
    watch("router", router)
    linear = [m for m in router.children() if isinstance(m, torch.nn.Linear)]
    if linear:
        watch("logits", linear[0])
    if hasattr(block, "experts"):
        watch("experts", block.experts)
    with torch.no_grad():
        model(**f.inputs(ids))
    (x, *_), y = seen["block"]
    y = y[0] if isinstance(y, tuple) else y
    if f.capture:
        logits, index, weight = f.capture(seen)
    else:
        out = seen["router"][1]
        if isinstance(out, tuple) and len(out) == 3:
            logits, weight, index = out
        else:
            logits, (_, index, weight) = out, seen["experts"][0]
    more = {} if f.router is None else dict(router_x=seen["router"][0][0])
    flat = lambda v: v.detach().reshape(-1, v.shape[-1]).contiguous().clone()
    return {k: flat(v) for k, v in more.items()} | dict(x=flat(x), logits=flat(logits), topk_index=flat(index).to(torch.int32), topk_weight=flat(weight), y=flat(y))


def make(name, folder):
    f = FAMILIES[name]
    if f.quantise:
        import quantise                                      # its packages beside the others, before transformers looks for them
    import torch, transformers
    from safetensors.torch import save_file
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cls, eager = getattr(transformers, f.model), dict(attn_implementation="eager")
    if f.release == 5:
        eager["experts_implementation"] = "eager"

    def load(where, dtype, **more):
        model, report = cls.from_pretrained(where, dtype=dtype, output_loading_info=True, **eager, **more)
        assert not report["missing_keys"] and not report["unexpected_keys"], report
        return model.eval()

    def save(model, where):
        model.save_pretrained(where, **({"max_shard_size": f.shards} if f.shards else {}))

    for seed in range(1000):
        torch.manual_seed(seed)
        model = cls(getattr(transformers, f.config)(**f.size)).eval()
        fill(model, f, seed)
        with tempfile.TemporaryDirectory() as wide, tempfile.TemporaryDirectory() as narrow:
            wide, narrow = pathlib.Path(wide), pathlib.Path(narrow)
            save(model, wide)                                # bf16 on disk, save what the family keeps in fp32
            save(load(wide, torch.bfloat16), narrow)
            (narrow / "generation_config.json").unlink(missing_ok=True)
            dense = f.quantise(narrow, seed) if f.quantise else {}
            source, more = narrow, dict(quantization_config=transformers.Mxfp4Config(dequantize=True)) if f.quantise and not dense else {}
            if dense:
                source = wide
                quantise.unquantised(narrow, dense, source)
            vocabulary = f.size.get("text_config", f.size)["vocab_size"]
            ids = torch.from_numpy(np.random.default_rng(seed).permutation(np.arange(3, vocabulary))[:TOKENS * f.sequences])
            both = {d: load(source, getattr(torch, long), **more) for d, long in dict(fp32="float32", bf16="bfloat16").items()}
            record = {f"{d}.{k}": v for d, m in both.items() for k, v in run(f, m, ids.reshape(f.sequences, -1)).items()}
            record |= {n: t for n, t in dense.items() if n.startswith(f.at)} | dict(token_ids=ids.to(torch.int32))
            about = {"about": f"{name}, transformers {transformers.__version__}, seed {seed}, sequences {f.sequences}"}
            save_file(record, narrow / "record.safetensors", about)
            got = check(name, narrow, quiet=True)
            if min(g["margin"] for g in got.values()) < f.margin or not f.wants(read(narrow / "record.safetensors")):
                continue
            if name == "mixtral":
                text = torch.tensor(list((HERE / "text.txt").read_bytes()))[None]
                record = {f"fp32.{k}": v for k, v in run(f, both["fp32"], text).items()}
                save_file(record | dict(token_ids=text[0].to(torch.int32)), narrow / "text.safetensors", about)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for file in narrow.iterdir():
                shutil.copyfile(file, folder / file.name)
        break


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--check", action="store_true", help="only check what is there")
    a.add_argument("family", nargs="*")
    a = a.parse_args()
    for name in a.family or FAMILIES:
        folder = HERE / name
        if not a.check:
            if FAMILIES[name].release == 4 and os.environ.get("PYTHONPATH") != str(V4):
                subprocess.run([sys.executable, __file__, name], env=os.environ | {"PYTHONPATH": str(V4)}, check=True)
                continue
            make(name, folder)
        check(name, folder)


if __name__ == "__main__":
    main()
