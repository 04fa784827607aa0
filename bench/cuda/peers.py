#!/usr/bin/env python3
"""What others need for the same layers on this GPU: an eager loop over experts, torch._grouped_mm, transformers' experts
backends, a Triton grouped product. Router included, bf16, random weights; the router and the tokens are bench_cuda's, value
by value (tokens.py). Every result is compared with the eager loop's before it is timed. Medians with a cold cache, replayed
from a captured graph where the peer can be captured.
Of several presets each runs in a process of its own. --training: forward and backward pass, gradients of every weight written anew, of
what torch can differentiate, launched as it comes; from 512 tokens on.

    peers.py [--training] [--preset NAME]... [--tokens N]... [--trace uniform|zipf|one]... [--json FILE]
"""
import argparse
import json
import subprocess
import sys

import tokens as made  # beside this file

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # --help works without
    torch = None

# name: experts, top_k, hidden, ffn (SwiGLU; softmax over the top-k logits). The published layers of DeepSeek-V3 and gpt-oss route and
# activate otherwise; their shapes stand here for the products, which take the time, and "hit" says how many experts the tokens chose.
SHAPES = {
    "qwen3_30b_a3b": (128, 8, 2048, 768),
    "mixtral_8x7b": (8, 2, 4096, 14336),
    "gpt_oss_120b/bf16": (128, 4, 2880, 2880),
    "deepseek_v3/routed": (256, 8, 7168, 2048),
}
NEVER_CAPTURED = ("eager loop", "transformers eager")  # they ask the device for sizes
TOKENS = [1, 2, 4, 8, 16, 64, 256, 512, 1024, 4096, 16384, 32768]


class Layer:
    def __init__(self, experts, top_k, hidden, ffn):
        self.experts, self.top_k, self.hidden, self.ffn = experts, top_k, hidden, ffn
        make = lambda *shape, inputs: torch.randn(*shape, device="cuda", dtype=torch.bfloat16).mul_(inputs**-0.5)
        self.router = torch.tensor(made.router_rows(experts, top_k, hidden), device="cuda").to(torch.bfloat16)
        self.gate_up = torch.empty(experts, 2 * ffn, hidden, device="cuda", dtype=torch.bfloat16)
        self.down = torch.empty(experts, hidden, ffn, device="cuda", dtype=torch.bfloat16)
        for e in range(experts):
            self.gate_up[e] = make(2 * ffn, hidden, inputs=hidden)
            self.down[e] = make(hidden, ffn, inputs=ffn)

    def learn(self):
        self.parameters = [w.requires_grad_() for w in (self.router, self.gate_up, self.down)]

    def route(self, x):
        weight, expert = torch.topk(F.linear(x, self.router).float(), self.top_k, dim=-1)
        return torch.softmax(weight, dim=-1), expert

    def act(self, gate_up):
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up

    def sorted_rows(self, expert):
        flat = expert.flatten()
        order = torch.argsort(flat, stable=True)
        counts = torch.zeros(self.experts, device=flat.device, dtype=torch.int64).scatter_add_(0, flat, torch.ones_like(flat))  # no host read
        return order, order // self.top_k, torch.cumsum(counts, 0).to(torch.int32)

    def combine(self, rows, order, weight, tokens):
        y = torch.empty_like(rows)
        y[order] = rows
        return (y.view(tokens, self.top_k, self.hidden).float() * weight.unsqueeze(-1)).sum(1).to(torch.bfloat16)


def eager(layer, x):
    weight, expert = layer.route(x)
    y = torch.zeros_like(x, dtype=torch.float32)
    for e in torch.unique(expert).tolist():
        token, slot = torch.where(expert == e)
        h = layer.act(F.linear(x[token], layer.gate_up[e]))
        y.index_add_(0, token, F.linear(h, layer.down[e]).float() * weight[token, slot, None])
    return y.to(x.dtype)


def grouped_mm(layer, x):
    weight, expert = layer.route(x)
    order, token, ends = layer.sorted_rows(expert)
    h = torch._grouped_mm(x[token], layer.gate_up.transpose(1, 2), offs=ends)
    rows = torch._grouped_mm(layer.act(h), layer.down.transpose(1, 2), offs=ends)
    return layer.combine(rows, order, weight, x.shape[0])


def transformers_block(layer, backend):
    """MixtralSparseMoeBlock of the installed transformers, with this layer's weights."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(hidden_size=layer.hidden, intermediate_size=layer.ffn, num_local_experts=layer.experts, num_experts_per_tok=layer.top_k)
    config._experts_implementation = backend
    with torch.device("meta"):
        block = MixtralSparseMoeBlock(config)
    weights = {"gate.weight": layer.router, "experts.gate_up_proj": layer.gate_up, "experts.down_proj": layer.down}
    missing = [k for k in block.state_dict() if k not in weights]
    if missing:
        raise RuntimeError(f"this transformers names its weights otherwise: {missing}")
    block.load_state_dict({k: torch.nn.Parameter(v.detach()) for k, v in weights.items()}, assign=True)
    block.eval()

    def run(_, x):
        y = block(x.unsqueeze(0))
        return (y[0] if isinstance(y, tuple) else y).view_as(x)

    run.parameters = list(block.parameters())
    return run


def triton_grouped():
    """Rows sorted by expert and padded to tiles; one program a tile, the expert of each tile from a table made on the device."""
    import triton
    import triton.language as tl

    @triton.jit
    def product(a, b, c, source, tile_expert, tiles, K, N, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
        tile, column = tl.program_id(0), tl.program_id(1)
        if tile >= tl.load(tiles):
            return
        expert = tl.load(tile_expert + tile).to(tl.int64)
        rows = tile * BM + tl.arange(0, BM)
        columns = column * BN + tl.arange(0, BN)
        inputs = tl.arange(0, BK)
        token = tl.load(source + rows).to(tl.int64)
        left = a + token[:, None] * K + inputs[None, :]
        right = b + expert * N * K + columns[None, :].to(tl.int64) * K + inputs[:, None]
        sum = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(0, K, BK):
            inside = inputs + k < K
            x = tl.load(left + k, mask=(token[:, None] >= 0) & inside[None, :], other=0.0)
            w = tl.load(right + k, mask=(columns[None, :] < N) & inside[:, None], other=0.0)
            sum = tl.dot(x, w, sum)
        tl.store(c + rows[:, None].to(tl.int64) * N + columns[None, :], sum.to(tl.bfloat16), mask=columns[None, :] < N)

    def run(layer, x):
        tokens, rows, E = x.shape[0], x.shape[0] * layer.top_k, layer.experts
        bm = 16 if rows <= 16 * E else 64 if rows <= 128 * E else 128
        weight, expert = layer.route(x)
        order, token, ends = layer.sorted_rows(expert)
        begins = F.pad(ends[:-1], (1, 0))
        padded = (ends - begins + bm - 1) // bm * bm
        pad_ends = torch.cumsum(padded, 0)
        most = (rows + E * (bm - 1) + bm - 1) // bm
        tile_expert = torch.searchsorted(pad_ends, torch.arange(most, device=x.device) * bm, right=True).clamp_(max=E - 1).to(torch.int32)
        tiles = (pad_ends[-1:] // bm).to(torch.int32)
        owner = expert.flatten()[order]
        place = torch.arange(rows, device=x.device) + (pad_ends - padded)[owner] - begins[owner]
        source = torch.full((most * bm,), -1, device=x.device, dtype=torch.int32)
        source[place] = token.to(torch.int32)
        h = torch.empty(most * bm, 2 * layer.ffn, device=x.device, dtype=x.dtype)
        meta = dict(BM=bm, BN=128, BK=64, num_warps=8 if bm == 128 else 4, num_stages=4)
        product[(most, triton.cdiv(2 * layer.ffn, 128))](x, layer.gate_up, h, source, tile_expert, tiles, layer.hidden, 2 * layer.ffn, **meta)
        a = layer.act(h)
        out = torch.empty(most * bm, layer.hidden, device=x.device, dtype=x.dtype)
        same = torch.arange(most * bm, device=x.device, dtype=torch.int32)
        product[(most, triton.cdiv(layer.hidden, 128))](a, layer.down, out, same, tile_expert, tiles, layer.ffn, layer.hidden, **meta)
        return layer.combine(out[place], order, weight, tokens)

    return run


def step(layer, run, x, dy):
    """dx, after a forward and a backward pass whose gradients go to memory of their own."""
    for w in getattr(run, "parameters", layer.parameters):
        w.grad = None
    x = x.detach().requires_grad_()
    run(layer, x).backward(dy)
    return x.grad


def median_us(f, flush, clean):
    def once():
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        flush.zero_()
        clean.sum()  # pushes out what the line above left dirty, else its way to memory falls into the timed work
        begin.record()
        f()
        end.record()
        return begin, end

    def runs(n):
        pairs = [once() for _ in range(n)]
        torch.cuda.synchronize()
        return sorted(1e3 * b.elapsed_time(e) for b, e in pairs)

    first = runs(3)[1]
    times = runs(int(min(30, max(5, 1e5 / first))))
    return times[len(times) // 2]


class NotCaptured(Exception):
    pass


def captured(f):
    """f as a graph's replay."""
    stream = torch.cuda.current_stream()
    side = torch.cuda.Stream()
    side.wait_stream(stream)
    with torch.cuda.stream(side):
        for _ in range(2):
            f()
    stream.wait_stream(side)
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            f()
        return graph.replay
    except Exception as e:  # noqa: BLE001
        torch.cuda.set_stream(stream)  # a capture that failed leaves its own stream current
        quietly(torch.cuda.synchronize)
        raise NotCaptured(f"{type(e).__name__}: {e}"[:200]) from None


def quietly(f):
    """f, for which it is no matter whether it works: after a failed capture both synchronize and empty_cache may refuse."""
    try:
        f()
    except Exception:  # noqa: BLE001
        pass


def measure(name, options):
    """The rows of one shape. After one failed capture torch refuses later ones, or fails in them, so that none is tried then."""
    torch.manual_seed(1)
    torch.set_grad_enabled(options.training)
    out = open(options.json, "a" if options.append else "w") if options.json else None
    flush = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    clean = torch.zeros(64 << 20, dtype=torch.float32, device="cuda")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    with torch.no_grad():
        layer = Layer(*SHAPES[name])
    peers = {"eager loop": lambda: eager, "torch._grouped_mm": lambda: grouped_mm, "Triton grouped": triton_grouped}
    if options.training:
        layer.learn()
        del peers["Triton grouped"]
    for backend in ("grouped_mm", "batched_mm", "eager"):
        peers[f"transformers {backend}"] = lambda backend=backend: transformers_block(layer, backend)
    stopped = None  # the peer after whose capture none is tried
    least = 512 if options.training else 1
    for trace, tokens in ((trace, tokens) for trace in options.trace or ("uniform", "zipf") for tokens in options.tokens or TOKENS if tokens >= least):
        x = made.tokens_on(torch, "cuda", trace, tokens, layer.hidden)
        hit = len(torch.unique(layer.route(x)[1]))
        flops = tokens * layer.top_k * 6 * layer.hidden * layer.ffn * (3 if options.training else 1)
        dy = torch.randn_like(x)
        call = (lambda run: step(layer, run, x, dy)) if options.training else (lambda run: run(layer, x))
        want = call(eager).float()
        for peer, make in peers.items():
            if peer == "transformers batched_mm" and tokens > 64:  # it copies the weights for every token
                continue
            row = {"preset": name, "training": options.training, "trace": trace, "tokens": tokens, "experts_hit": hit, "peer": peer}
            title = f"{name:22} {trace:8} {tokens:6} {hit:5} {peer:24}"
            run = f = None
            try:
                run = make()
                error = float((call(run).float() - want).norm() / want.norm())
                if not error < 0.02:
                    raise RuntimeError(f"differs from the eager loop by {error:.3g}")
                f, graph, why = (lambda: call(run)), False, ""
                if peer not in NEVER_CAPTURED and stopped:
                    why = f": no more after the capture of {stopped} failed"
                elif peer not in NEVER_CAPTURED and not options.training:
                    try:
                        f, graph = captured(f), True
                    except NotCaptured as e:
                        stopped, why = peer, f": {e}"
                row |= {"us": median_us(f, flush, clean), "graph": graph, "difference": error}
                if why:
                    row["not_captured"] = why[2:]
                print(f"{title} {row['us']:10.1f} us {1e-6 * flops / row['us']:8.1f} TFLOP/s{'' if graph else f'  (not captured{why})'}", flush=True)
            except Exception as e:  # noqa: BLE001
                row["failed"] = f"{type(e).__name__}: {e}"[:200]
                print(f"{title} failed: {row['failed']}", flush=True)
                quietly(torch.cuda.synchronize)
            run = f = None  # with the graph and its memory, before the next peer needs some
            quietly(torch.cuda.empty_cache)
            if out:
                print(json.dumps(row), file=out, flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--preset", action="append")
    arguments.add_argument("--tokens", action="append", type=int)
    arguments.add_argument("--trace", action="append", choices=made.TRACES)
    arguments.add_argument("--json")
    arguments.add_argument("--training", action="store_true")
    arguments.add_argument("--append", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if not torch:
        arguments.error("needs torch")
    names = [n for n in SHAPES if not options.preset or any(n.startswith(p) for p in options.preset)]
    if len(names) == 1:
        return measure(names[0], options)
    if options.json:
        open(options.json, "w").close()
    failed = 0
    for name in names:
        command = [sys.executable, __file__, "--preset", name] + ["--training"] * options.training
        for tokens in options.tokens or []:
            command += ["--tokens", str(tokens)]
        for trace in options.trace or []:
            command += ["--trace", trace]
        if options.json:
            command += ["--append", "--json", options.json]
        code = subprocess.run(command).returncode
        if code:
            failed = 1
            print(f"{name:22} ended with {code}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
