"""kt-kernel: its extension module driven by pointers, as its own Python wrappers do, without the packages that those import. No router:
its time is that of the experts alone. After a call its threads spin for 50 ms, which the driver waits out."""
import glob
import importlib.machinery
import importlib.util
import site

import ml_dtypes
import numpy as np

# As its wrapper chooses: the first of which the processor has everything.
VARIANTS = {
    "amx": "amx_tile amx_int8 amx_bf16 avx512_bf16",
    "avx512_bf16": "avx512f avx512bw avx512_vnni avx512_vbmi avx512_bf16",
    "avx512_vbmi": "avx512f avx512bw avx512_vnni avx512_vbmi",
    "avx512_vnni": "avx512f avx512bw avx512_vnni",
    "avx512_base": "avx512f avx512bw",
    "avx2": "avx2 fma",
}


def extension():
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split()
    variant = next(v for v, wanted in VARIANTS.items() if set(wanted.split()) <= set(flags))
    file = glob.glob(f"{site.getsitepackages()[0]}/kt_kernel/_kt_kernel_ext_{variant}.*.so")[0]
    loader = importlib.machinery.ExtensionFileLoader("kt_kernel_ext", file)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("kt_kernel_ext", loader))
    loader.exec_module(module)
    return module, variant


class Engine:
    longest = 512  # tokens of a call

    def __init__(self, layer, type, threads):
        E, K, H, F = self.shape = layer.shape
        kt, variant = extension()
        pool = kt.WorkerPoolConfig()
        pool.subpool_count, pool.subpool_numa_map, pool.subpool_thread_count = 1, [0], [threads]
        self.cpu = kt.CPUInfer(pool)
        self.on_gpu = np.zeros(E, np.bool_)
        config = kt.moe.MOEConfig(E, K, H, F, self.on_gpu.ctypes.data)
        config.layer_idx, config.pool, config.max_len = 0, self.cpu.backend_, self.longest
        kept = self.load(layer, config)
        name = next(name for name in self.classes if hasattr(kt.moe, name))
        self.moe = getattr(kt.moe, name)(config)
        self.about = f"kt-kernel ({variant}, {name})"
        order = np.arange(E, dtype=np.int64)
        self.cpu.submit(self.moe.load_weights_task(order.ctypes.data))
        self.cpu.sync()
        del kept  # packed by now

    def input(self, x, expert, weight):
        tokens, width = x.shape
        self.x, self.y = x.astype(ml_dtypes.bfloat16), np.empty(x.shape, ml_dtypes.bfloat16)
        self.expert, self.weight, self.tokens = expert.astype(np.int64), weight, np.array([tokens], np.int32)

    def run(self):
        at = lambda array: array.ctypes.data
        self.cpu.submit(self.moe.forward_task(at(self.tokens), self.shape.top_k, at(self.expert), at(self.weight), at(self.x), at(self.y), False))
        self.cpu.sync()

    def output(self):
        return self.y.astype(np.float32)


class Bf16(Engine):
    bits, classes = 16, ["AMXBF16_MOE", "AVX2BF16_MOE"]

    def load(self, layer, config):
        gate_up, down = layer.gate_up(), layer.down()
        at = lambda array: [[part.ctypes.data for part in array]]
        config.gate_projs, config.up_projs, config.down_projs = at(gate_up[:, 0]), at(gate_up[:, 1]), at(down)
        return gate_up, down


class ByRow(Engine):
    """One scale for a row of weights, activations rounded to 8 bits by row."""

    def load(self, layer, config):
        gate_up, down = layer.gate_up(), layer.down()
        gate, up = (np.ascontiguousarray(gate_up[:, part]) for part in (0, 1))
        config.gate_proj, config.up_proj, config.down_proj = gate.ctypes.data, up.ctypes.data, down.ctypes.data
        return gate, up, down


class Int8(ByRow):
    bits, classes = 8, ["AMXInt8_MOE"]


class Int4(ByRow):
    bits, classes = 4, ["AMXInt4_MOE"]


class Quantised(Engine):
    """Weights and scales as checkpoints ship them."""

    def load(self, layer, config):
        kept = []
        for name, parts in (("gate", layer.gate_up()[:, 0]), ("up", layer.gate_up()[:, 1]), ("down", layer.down())):
            packed, scales = zip(*(self.quantise(part.astype(np.float32)) for part in parts))
            setattr(config, name + "_projs", [[a.ctypes.data for a in packed]])
            setattr(config, name + "_scales", [[a.ctypes.data for a in scales]])
            kept.append((packed, scales))
        config.quant_config.bits, config.quant_config.group_size, config.quant_config.zero_point = self.bits, self.group, False
        return kept


class Fp8(Quantised):
    bits, group, classes = 8, 128, ["AMXFP8_MOE", "AVX2FP8_MOE"]

    def quantise(self, w):
        blocks = w.reshape(len(w) // 128, 128, -1, 128)
        scale = np.abs(blocks).max((1, 3), keepdims=True) / 448
        return (blocks / scale).reshape(w.shape).astype(ml_dtypes.float8_e4m3fn), scale[:, 0, :, 0].copy()


class RawInt4(Quantised):
    bits, group = 4, 32
    classes = ["AMXInt4_KGroup_MOE", "AVX2RawInt4_MOE"]

    def quantise(self, w):
        groups = w.reshape(len(w), -1, 32)
        scale = (np.abs(groups).max(2) / 7).astype(ml_dtypes.bfloat16)
        q = (np.clip(np.rint(groups / scale.astype(np.float32)[..., None]), -8, 7) + 8).astype(np.uint8).reshape(w.shape)
        return q[:, ::2] | q[:, 1::2] << 4, scale


class Mxfp4(Quantised):
    bits, group = 4, 32
    classes = ["AMXFP4_KGroup_MOE", "AVX2MXFP4_MOE"]

    def quantise(self, w):
        groups = w.reshape(len(w), -1, 32)
        scale = np.exp2(np.floor(np.log2(np.abs(groups).max(2))) - 2)
        steps = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], np.float32)  # between 0, 0.5, 1, 1.5, 2, 3, 4, 6
        q = (np.searchsorted(steps, np.abs(groups) / scale[..., None]) + 8 * (groups < 0)).astype(np.uint8).reshape(w.shape)
        return q[:, ::2] | q[:, 1::2] << 4, scale.astype(ml_dtypes.bfloat16)


ENGINES = {
    "kt-kernel": {"bf16": Bf16, "int8": Int8, "fp8": Fp8, "int4": Int4, "mxfp4": Mxfp4},
    "kt-kernel RAWINT4": {"int4": RawInt4},
}
