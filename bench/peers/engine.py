"""One peer in a process of its own: engine.py FOLDER SHAPE PEER TYPE THREADS, spoken to as exchange.serve says."""
import importlib
import sys

import exchange

MODULES = {
    "torch loop": "engine_torch",
    "torch._grouped_mm": "engine_torch",
    "onnxruntime": "engine_onnxruntime",
    "kt-kernel": "engine_kt_kernel",
    "kt-kernel RAWINT4": "engine_kt_kernel",
    "vllm cpu_fused_moe": "engine_vllm",
    "sgl fused_experts_cpu": "engine_vllm",
    "zentorch_fused_moe": "engine_vllm",
    "ggml": "engine_ggml",
    "ggml CPU_REPACK": "engine_ggml",
}
# Which types each is tried in; an engine's own table says how.
TYPES = {
    "f32": ["torch loop", "torch._grouped_mm", "onnxruntime", "vllm cpu_fused_moe", "zentorch_fused_moe", "ggml"],
    "bf16": ["torch loop", "torch._grouped_mm", "kt-kernel", "vllm cpu_fused_moe", "sgl fused_experts_cpu", "zentorch_fused_moe", "ggml"],
    "int8": ["torch loop", "onnxruntime", "kt-kernel", "sgl fused_experts_cpu", "ggml"],
    "fp8": ["kt-kernel", "sgl fused_experts_cpu"],
    "int4": ["torch loop", "onnxruntime", "kt-kernel", "kt-kernel RAWINT4", "sgl fused_experts_cpu", "ggml", "ggml CPU_REPACK"],
    "mxfp4": ["kt-kernel", "ggml", "ggml CPU_REPACK"],
    # ours with 8-bit activations, beside those that always round them
    "int8a8": ["kt-kernel", "sgl fused_experts_cpu", "ggml"],
    "int4a8": ["kt-kernel", "sgl fused_experts_cpu", "ggml", "ggml CPU_REPACK"],
}


def main():
    folder, shape, peer, type, threads = sys.argv[1:]
    layer = exchange.Layer(folder, exchange.SHAPES[shape])
    exchange.serve(lambda: importlib.import_module(MODULES[peer]).ENGINES[peer][type.removesuffix("a8")](layer, type.removesuffix("a8"), int(threads)), layer)


if __name__ == "__main__":
    main()
