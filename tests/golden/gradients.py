#!/usr/bin/env python3
"""Goldens of gradients: torch's autograd over the original MoE blocks, and over the balance losses beside them.

For each family of FAMILIES its checkpoint is loaded in float64 and its block run on the record's fp32.x; of <dy, y> with a random dy come the
gradients of x and of every weight. Written to <family>/gradients.safetensors, in fp32: dy, dx, d.<word> by make.py's words for tensors (experts
as [E,f,h] and [E,h,f]; mixtral every 16th of its 256 hidden columns f), and of each loss its value and its gradient of the logits.
Usage: build/golden-venv/bin/python tests/golden/gradients.py [family ...]   (make.sh runs it)
"""
import pathlib, sys, tempfile

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

import balance, make

SEED = 11
EVERY = {"mixtral": 16}
FAMILIES = ["mixtral", "qwen2_moe", "deepseek_v3", "gpt_oss", "switch_transformers"]


def losses(name, logits, index, sequences):
    """(word, value) of the balance losses of one layer; logits [T,E], index [T,k]."""
    e, k = logits.shape[1], index.shape[1]
    by_sequence = logits.reshape(sequences, -1, e)
    if name == "switch_transformers":                        # its own, by sequence, of the first choice before capacity
        from transformers.models.switch_transformers import modeling_switch_transformers as original
        return dict(load=original.load_balancing_loss_func(torch.softmax(by_sequence, -1), by_sequence.argmax(-1)), z=original.router_z_loss_func(by_sequence))
    if name == "deepseek_v3":                                # transformers has none: arXiv 2412.19437, eq. 17-20, of one sequence
        s = torch.sigmoid(logits)
        f = torch.nn.functional.one_hot(index, e).sum((0, 1)) * (e / (k * len(logits)))
        return dict(sequence_wise=(f * (s / s.sum(-1, keepdim=True)).mean(0)).sum())
    module = getattr(__import__(f"transformers.models.{name}", fromlist=["x"]), f"modeling_{name}")
    return dict(load=module.load_balancing_loss_func((logits,), e, k))


def make_gradients(name):
    f, folder = make.FAMILIES[name], make.HERE / name
    cls = getattr(transformers, f.model)
    model, report = cls.from_pretrained(folder, dtype=torch.float64, output_loading_info=True, attn_implementation="eager", experts_implementation="eager")
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    block = next(m for m in model.eval().modules() if type(m).__name__ == f.block)
    record = make.read(folder / "record.safetensors")
    x = torch.from_numpy(record["fp32.x"].astype(np.float64)).reshape(f.sequences, -1, record["fp32.x"].shape[1]).requires_grad_()
    dy = np.random.default_rng(SEED).standard_normal(record["fp32.x"].shape).astype(np.float32)
    y = block(x)
    y = y[0] if isinstance(y, tuple) else y
    assert np.abs(y.detach().numpy().reshape(dy.shape) - record["fp32.y"]).max() < 2e-6 * np.abs(record["fp32.y"]).max()
    (y.reshape(dy.shape) * torch.from_numpy(dy.astype(np.float64))).sum().backward()

    # Gradients in the weights' place are saved as weights are: by the names and in the layouts of a checkpoint.
    with torch.no_grad(), tempfile.TemporaryDirectory() as where:
        for p in model.parameters():
            p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
        model.to(torch.float32).save_pretrained(where)
        d = make.words(f, make.checkpoint(pathlib.Path(where)))
    d.pop("select_bias", None)                               # a buffer: it has none
    every = EVERY.get(name, 1)
    d |= {w: d[w][:, ::every] for w in ("gate", "up") if w in d} | dict(down=d["down"][:, :, ::every])
    out = {f"d.{w}": v for w, v in d.items()} | dict(dy=dy, dx=x.grad.numpy().reshape(dy.shape))

    logits = torch.from_numpy(record["fp32.logits"].astype(np.float64)).requires_grad_()
    index = torch.from_numpy(record["fp32.topk_index"].astype(np.int64))
    for word, value in losses(name, logits, index, f.sequences).items():
        logits.grad = None
        value.backward()
        out |= {f"{word}.value": value.detach().numpy().reshape(1), f"{word}.dlogits": logits.grad.numpy()}
    save_file({w: np.ascontiguousarray(v, np.float32) for w, v in out.items()}, folder / "gradients.safetensors", {"about": f"{name}, transformers {transformers.__version__}, torch {torch.__version__}, dy of seed {SEED}"})
    print(f"{name:<24} {', '.join(out)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in [n for n in FAMILIES if not sys.argv[1:] or n in sys.argv[1:]]:
        make_gradients(name)
    if not sys.argv[1:]:
        balance.make()
