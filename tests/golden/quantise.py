"""Experts quantised as releases have them, each format by the code of those who defined it.

A format here is called with a folder and a seed: it replaces the experts' matrices of the saved checkpoint there by their
packed ones, says so in config.json, and returns what the original's own reader makes of what was written: fp32, by the
names that floats have. Groups have random zero points over all of their range; releases have them near its middle.
"""
import json, pathlib, re, sys, types, zlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

sys.path.append(str(pathlib.Path(sys.prefix) / "quantised"))
EXPERTS = r"\.experts\.\d+\."
GROUP = 32


def rewrite(folder, seed, pack, config, wanted=EXPERTS):
    """pack: (matrix in fp32, random) -> the tensors that replace it, by the words after X., and what they stand for."""
    tensors, dense = load_file(folder / "model.safetensors"), {}
    for name in sorted(n for n in tensors if re.search(wanted, n) and n.endswith(".weight")):
        stored, dense[name] = pack(tensors.pop(name).float(), np.random.default_rng([seed, zlib.crc32(name.encode())]))
        tensors |= {name.removesuffix("weight") + word: t.contiguous() for word, t in stored.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(quantization_config=config), indent=2) + "\n")
    return {name: t.float().contiguous() for name, t in dense.items()}


def unquantised(folder, dense, to):
    """The same model of numbers alone, in fp32 where they are dequantised ones."""
    tensors = {n: t for n, t in load_file(folder / "model.safetensors").items() if n.rpartition(".")[0] + ".weight" not in dense}
    save_file(tensors | dense, to / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.pop("quantization_config")
    (to / "config.json").write_text(json.dumps(config))


def grid(w, random, bits, symmetric, dtype, group):
    """Scales [out, groups] that dtype holds, zero points, and the matrix on the numbers these can stand for."""
    top, blocks = 2 ** bits - 1, w.unflatten(1, (-1, group))
    scale = (blocks.abs().amax(-1) / 2 ** (bits - 1)).to(dtype).float()
    zero = torch.full_like(scale, 2 ** (bits - 1)) if symmetric else torch.from_numpy(random.integers(0, top + 1, scale.shape)).float()
    code = ((blocks / scale[..., None]).round() + zero[..., None]).clamp(0, top)
    return scale, zero, ((code - zero[..., None]) * scale[..., None]).flatten(1)


def linear_of(w):
    linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
    linear.weight.data = w
    return linear


def awq(folder, seed):
    for package in "awq", "awq.utils", "awq.modules", "awq.modules.linear", "awq.models":      # whose __init__ asks for data sets and kernels
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(pathlib.Path(sys.prefix, "quantised", *package.split(".")))]
    from awq.models._config import AwqConfig
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    def pack(w, random):
        scale, zero, w = grid(w, random, 4, False, torch.float16, GROUP)
        layer = WQLinear_GEMM.from_linear(linear_of(w), 4, GROUP, scales=scale.T.contiguous(), zeros=zero.T.contiguous())
        return layer.state_dict(), dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.float(), 4, GROUP).T
    return rewrite(folder, seed, pack, AwqConfig(q_group_size=GROUP, modules_to_not_convert=["gate"]).to_transformers_dict())


def gptq(bits, symmetric, version):
    def quantise(folder, seed):
        from gptqmodel.nn_modules.qlinear.torch import TorchLinear
        from gptqmodel.quantization import FORMAT, QuantizeConfig
        from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module, convert_gptq_v2_to_v1_format_module
        config = QuantizeConfig(bits=bits, group_size=GROUP, sym=symmetric, desc_act=False, format=version, offload_to_disk=False)

        def pack(w, random):
            scale, zero, w = grid(w, random, bits, symmetric, torch.float16, GROUP)
            layer = TorchLinear(bits=bits, group_size=GROUP, sym=symmetric, desc_act=False, in_features=w.shape[1], out_features=w.shape[0]).eval()
            layer.pack_original(linear_of(w), scale, zero, layer.g_idx)
            if version == FORMAT.GPTQ:
                convert_gptq_v2_to_v1_format_module(layer, config)
            stored = {word: t.clone() for word, t in layer.state_dict().items()}
            if version == FORMAT.GPTQ:
                convert_gptq_v1_to_v2_format_module(layer, bits, torch.int32)
            layer.scales = layer.scales.float()
            return stored, layer.dequantize_weight().T
        fields = {k: v for k, v in config.to_dict().items() if k != "meta"}                      # which names a folder of this machine
        return rewrite(folder, seed, pack, fields)
    return quantise


def compressed(layout, **weights):
    """compressed-tensors: layout is its name of the format, weights its arguments."""
    def quantise(folder, seed):
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
        args = QuantizationArgs(**weights)
        scheme, compressor = QuantizationScheme(targets=["Linear"], weights=args), BaseCompressor.get_value_from_registry(layout)

        def pack(w, random):
            if args.type == "int":
                scale, zero, w = grid(w, random, args.num_bits, args.symmetric, torch.bfloat16, args.group_size or w.shape[1])
                given = dict(weight_scale=scale.bfloat16(), weight_zero_point=(zero - 2 ** (args.num_bits - 1)).to(torch.int8))
            else:
                w, (rows, columns) = w.bfloat16(), args.block_structure or (1, args.group_size or w.shape[1])
                wide = torch.nn.functional.pad(w, (0, -w.shape[1] % columns, 0, -w.shape[0] % rows))
                largest = wide.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).abs().amax((1, 3))
                given = dict(weight_scale=largest / 448 if args.num_bits == 8 else (largest / 6).log2().ceil().exp2())
            stored = compressor.compress(dict(weight=w) | given, scheme)
            as_stored = compressor.decompress(stored, scheme)["weight"]
            if stored["weight_scale"].dtype == torch.uint8:
                return stored, as_stored
            dense = compressor.decompress(stored | dict(weight_scale=stored["weight_scale"].float()), scheme)["weight"]
            assert torch.equal(as_stored, dense.bfloat16())
            return stored, dense
        config = QuantizationConfig(config_groups=dict(group_0=scheme), format=layout, quantization_status="compressed",
                                    ignore=["lm_head", r"re:.*self_attn.*", r"re:.*mlp\.gate$", r"re:.*shared_experts.*"])
        return rewrite(folder, seed, pack, config.to_dict())
    return quantise


def fp8_blocks(rows, columns):
    """transformers' own, which then must read the same from the files."""
    def quantise(folder, seed):
        from transformers import AutoModelForCausalLM, FineGrainedFP8Config
        from transformers.integrations.finegrained_fp8 import Fp8Dequantize, Fp8Quantize
        config = FineGrainedFP8Config(weight_block_size=(rows, columns), modules_to_not_convert=["self_attn", "gate", "lm_head"])
        quantizer = types.SimpleNamespace(quantization_config=config)

        def pack(w, random):
            stored = Fp8Quantize(quantizer).convert({"weight": w})
            return stored, Fp8Dequantize(quantizer).convert(stored)["weight"]
        dense = rewrite(folder, seed, pack, config.to_dict(), r"\.mlp\..*_proj\.")
        read = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=FineGrainedFP8Config(dequantize=True)).state_dict()
        for name, t in dense.items():
            block, expert, matrix = re.fullmatch(r"(.*?\.)(?:experts\.(\d+)\.)?(\w+)\.weight", name).groups()
            if expert is None:
                got = read[name]
            elif matrix == "down_proj":
                got = read[block + "experts.down_proj"][int(expert)]
            else:
                got = read[block + "experts.gate_up_proj"][int(expert)].chunk(2)[matrix == "up_proj"]
            assert torch.equal(got.float(), t), name
        return dense
    return quantise
