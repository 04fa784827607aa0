#!/usr/bin/env python3
"""Goldens of balance losses and biases that no block of transformers has: their formulas in torch as the originals read, in float64, with autograd.

Written to balance.safetensors. Inputs: logits [T,E] of 2 sequences, what a noisy router drew (noise_logits, noisy: [T,E]), its choices of noisy
(index [T,K]) and their weights [T,K]. Of each loss its value and gradients, without a coefficient; biases behind one step.
Usage: build/golden-venv/bin/python tests/golden/balance.py (gradients.py runs it)
"""
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

T, E, K, SEQUENCES, SEED = 26, 10, 3, 2, 5
NOISE = float(np.float32(1e-2))                              # tensor2tensor's noise_epsilon


def deepseek_v2(logits, index, by_sequence):
    """MoEGate.forward of DeepSeek-V2's remote code, with and without seq_aux; its scores are a softmax. Alpha left out."""
    scores = torch.softmax(logits, -1)
    if by_sequence:
        ce = torch.zeros(SEQUENCES, E, dtype=logits.dtype)
        ce.scatter_add_(1, index.reshape(SEQUENCES, -1), torch.ones(SEQUENCES, T // SEQUENCES * K, dtype=logits.dtype))
        ce /= T // SEQUENCES * K / E
        return (ce * scores.reshape(SEQUENCES, -1, E).mean(1)).sum(1).mean()
    ce = torch.nn.functional.one_hot(index.reshape(-1), E).to(logits.dtype).mean(0)
    return (scores.mean(0) * ce * E).sum()


def gshard(logits):
    """Mesh TensorFlow's _top_2_gating, Lingvo's Top2GatingOnLogits: of first choices, before capacity."""
    gates = torch.softmax(logits, -1)
    density = torch.nn.functional.one_hot(gates.argmax(-1), E).to(logits.dtype).mean(0)
    return (gates.mean(0) * density).mean() * E**2


def cv_squared(x):
    """tensor2tensor's: a population's variance, epsilon 1e-10."""
    return (x - x.mean()).square().mean() / (x.mean().square() + 1e-10)


def prob_in_top_k(clean, noisy, deviation):
    """tensor2tensor's _prob_in_top_k: the gradient goes through the thresholds."""
    top = noisy.topk(K + 1, -1).values
    if_in, if_out = top[:, K:], top[:, K - 1 : K]
    phi = lambda threshold: torch.special.ndtr((clean - threshold) / deviation)
    return torch.where(noisy > if_in, phi(if_in), phi(if_out))


def entropy(logits):
    return torch.special.entr(torch.softmax(logits, -1)).sum(-1).mean()


def mutual_information(logits):
    """ModuleFormer's, LIMoE's local and global losses without its threshold: H(expert | token) - H(expert)."""
    return entropy(logits) - torch.special.entr(torch.softmax(logits, -1).mean(0)).sum()


def quantile(logits, bias):
    """Megatron-LM's exact quantile balancing: beta is the negative bias."""
    scores = torch.sigmoid(logits)
    alpha = (scores + bias).topk(K + 1, -1).values[:, -1:]
    beta = (scores - alpha).topk(T * K // E + 1, 0).values[-1]
    return beta.mean() - beta


def make():
    rng = np.random.default_rng(SEED)
    fp32 = lambda *shape: torch.from_numpy(rng.standard_normal(shape).astype(np.float32).astype(np.float64))
    leaf = lambda v: v.clone().requires_grad_()
    logits, noise, drawn = leaf(fp32(T, E) + torch.linspace(-1, 1, E, dtype=torch.float64).float().double()), leaf(fp32(T, E)), fp32(T, E)
    logits.data = logits.data.float().double()
    deviation = lambda: torch.nn.functional.softplus(noise) + NOISE
    noisy = (logits + drawn * deviation()).detach().float().double()     # what is stored, and what it was drawn by
    drawn = ((noisy - logits) / deviation()).detach()
    index = noisy.topk(K, -1).indices
    weight = leaf(torch.softmax(noisy.gather(1, index), -1).float().double())
    importance = torch.zeros(T, E, dtype=torch.float64).scatter(1, index, weight).sum(0)

    bias, counts = fp32(E) / 4, torch.bincount(index.reshape(-1), minlength=E).double()
    sign = torch.sign(counts.mean() - counts)
    out = dict(logits=logits, noise_logits=noise, noisy=noisy, index=index.int(), weight=weight, bias=bias,
               **{"bias.sign": bias + 1e-3 * sign,           # Megatron-LM's get_updated_expert_bias
                  "bias.centred": bias - bias.mean() + 1e-3 * (sign - sign.mean()),             # torchtitan's, of biases that were centred before
                  "bias.quantile": quantile(logits, bias)})
    losses = dict(sequence_wise=deepseek_v2(logits, index, True), batch_wise=deepseek_v2(logits, index, False), gshard=gshard(logits), entropy=entropy(logits),
                  mutual_information=mutual_information(logits), importance=cv_squared(importance),
                  smooth_load=cv_squared(prob_in_top_k(logits, logits + drawn * deviation(), deviation()).sum(0)))
    for word, value in losses.items():
        logits.grad = noise.grad = weight.grad = None
        value.backward()
        out |= {f"{word}.value": value.reshape(1)} | {f"{word}.d{of}": v.grad for of, v in dict(logits=logits, noise_logits=noise, weight=weight).items() if v.grad is not None}
    arrays = {w: np.ascontiguousarray(v.detach().numpy(), np.int32 if w == "index" else np.float32) for w, v in out.items()}
    save_file(arrays, pathlib.Path(__file__).resolve().parent / "balance.safetensors", {"about": f"torch {torch.__version__}, seed {SEED}"})
    print(f"{'balance':<24} {', '.join(out)}")


if __name__ == "__main__":
    make()
