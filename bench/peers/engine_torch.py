"""PyTorch: a loop over the experts that have tokens; torch._grouped_mm over rows sorted by expert. Router included."""
import torch
import torch.nn.functional as F


def tensor(array, dtype):
    """A copy in torch's own memory of a bf16 array that is mapped from a file."""
    import numpy

    return torch.from_numpy(array.view(numpy.int16)).view(torch.bfloat16).to(dtype, copy=True)


class Engine:
    def __init__(self, layer, type, threads):
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.shape, self.bits = layer.shape, {"f32": 32, "bf16": 16, "int8": 8, "int4": 4}[type]
        self.dtype = torch.float32 if type == "f32" else torch.bfloat16
        self.about = f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
        self.router = torch.from_numpy(layer.router())
        self.load(layer)

    def load(self, layer):
        E, _, H, width = self.shape
        self.gate_up = tensor(layer.gate_up(), self.dtype).view(E, 2 * width, H)
        self.down = tensor(layer.down(), self.dtype)

    def input(self, x, expert, weight):
        self.x = torch.from_numpy(x).to(self.dtype)

    def output(self):
        return self.y.float().numpy()

    def route(self, x):
        weight, expert = torch.topk(F.linear(x.float(), self.router), self.shape.top_k, dim=-1)
        return torch.softmax(weight, dim=-1), expert

    def act(self, gate_up):
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up


class Loop(Engine):
    def products(self, e):
        return lambda x: F.linear(x, self.gate_up[e]), lambda h: F.linear(h, self.down[e])

    def run(self):
        x = self.x
        weight, expert = self.route(x)
        y = torch.zeros(x.shape, dtype=torch.float32)
        for e in torch.unique(expert).tolist():
            token, slot = torch.where(expert == e)
            gate_up, down = self.products(e)
            y.index_add_(0, token, down(self.act(gate_up(x.index_select(0, token)))).float() * weight[token, slot, None])
        self.y = y.to(x.dtype)


class Grouped(Engine):
    def run(self):
        x, (E, K, H, _) = self.x, self.shape
        weight, expert = self.route(x)
        flat = expert.flatten()
        order = torch.argsort(flat, stable=True)
        ends = torch.cumsum(torch.bincount(flat, minlength=E), 0).to(torch.int32)
        h = torch._grouped_mm(x.index_select(0, order // K), self.gate_up.transpose(1, 2), offs=ends)
        rows = torch._grouped_mm(self.act(h), self.down.transpose(1, 2), offs=ends)
        y = torch.empty_like(rows)
        y[order] = rows
        self.y = (y.view(-1, K, H).float() * weight.unsqueeze(-1)).sum(1).to(x.dtype)


class Int8(Loop):
    """The same loop by the operator behind torchao's weight-only int8: one scale for a row, activations bf16."""

    def load(self, layer):
        quantised = lambda array: [self.quantise(tensor(array[e], torch.float32).flatten(0, -2)) for e in range(self.shape.experts)]
        self.gate_up, self.down = quantised(layer.gate_up()), quantised(layer.down())

    def quantise(self, w):
        scale = w.abs().amax(1) / 127
        return (w / scale[:, None]).round().to(torch.int8), scale.to(torch.bfloat16)

    def products(self, e):
        return (lambda x: torch._weight_int8pack_mm(x, *self.gate_up[e]), lambda h: torch._weight_int8pack_mm(h, *self.down[e]))


class Int4(Int8):
    """The operator behind torchao's weight-only int4 on the CPU: groups of 32 with scales and zero points, activations bf16."""

    group = 32

    def quantise(self, w):
        groups = w.view(len(w), -1, self.group)
        scale = groups.abs().amax(2, keepdim=True) / 7
        q = ((groups / scale).round().clamp_(-8, 7) + 8).to(torch.int32).view(w.shape)
        scale = scale.squeeze(2)
        scales_and_zeros = torch.stack([scale, torch.zeros_like(scale)], 2).transpose(0, 1).contiguous()
        return torch.ops.aten._convert_weight_to_int4pack_for_cpu(q, 1), scales_and_zeros.to(torch.bfloat16)

    def products(self, e):
        mm = torch.ops.aten._weight_int4pack_mm_for_cpu
        return (lambda x: mm(x, self.gate_up[e][0], self.group, self.gate_up[e][1]), lambda h: mm(h, self.down[e][0], self.group, self.down[e][1]))


ENGINES = {
    "torch loop": {"f32": Loop, "bf16": Loop, "int8": Int8, "int4": Int4},
    "torch._grouped_mm": {"f32": Grouped, "bf16": Grouped},
}
