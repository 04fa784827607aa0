"""Best times of peers on another machine, in ms: 2 cores of an AMX Xeon under a hypervisor, 2 threads, 31.7 GB/s read bandwidth, the same
layers and method, 2026. They are no side-by-side; the driver prints them for what it could not run."""

TOKENS = (1, 4, 16, 64, 512)
MACHINE = "another machine: 2 cores of an AMX Xeon, 31.7 GB/s"

FIGURES = {  # peer: {(shape, type): ms at TOKENS}; ik_llama.cpp: the faster of plain and repacked weights
    "ik_llama.cpp": {
        ("qwen3_30b_a3b", "bf16"): (2.977, 10.86, 33.02, 71.67, 245.7),
        ("qwen3_30b_a3b", "int8"): (1.746, 5.745, 17.64, 31.91, 105.9),
        ("qwen3_30b_a3b", "int4"): (1.241, 4.047, 12.99, 24.67, 138.6),
        ("mixtral_8x7b", "bf16"): (26.51, 59.64, 122.0, 290.4, 1987),
        ("mixtral_8x7b", "int8"): (16.15, 36.97, 73.02, 180.4, 836.7),
        ("mixtral_8x7b", "int4"): (10.38, 22.36, 51.98, 138.8, 776.6),
    },
    "kt-kernel": {
        ("qwen3_30b_a3b", "bf16"): (4.199, 14.91, 46.09, 91.71, 68.88),
        ("qwen3_30b_a3b", "int8"): (1.901, 7.019, 22.93, 50.57, 38.63),
        ("qwen3_30b_a3b", "int4"): (1.589, 6.341, 22.00, 51.24, 38.02),
        ("mixtral_8x7b", "bf16"): (34.22, 81.12, 195.7, 115.1, 279.6),
        ("mixtral_8x7b", "int8"): (17.62, 45.14, 104.5, 62.99, 155.5),
        ("mixtral_8x7b", "int4"): (14.38, 36.16, 91.90, 37.98, 128.9),
    },
    "onnxruntime": {
        ("qwen3_30b_a3b", "f32"): (5.21, 21.2, 66.53, 133.5, 351.4),
        ("qwen3_30b_a3b", "int4"): (13.38, 56.52, 201.7, 400.8, 493.8),
        ("mixtral_8x7b", "f32"): (47.42, 173.7, 438.0, 565.1, 1669),
    },
    "ggml": {
        ("qwen3_30b_a3b", "f32"): (5.352, 18.53, 56.31, 115.8, 453.0),
        ("qwen3_30b_a3b", "bf16"): (4.343, 15.73, 51.91, 136.4, 610.8),
        ("qwen3_30b_a3b", "int8"): (2.811, 9.654, 31.21, 83.19, 673.3),
        ("qwen3_30b_a3b", "int4"): (2.238, 8.940, 35.29, 100.9, 451.2),
        ("mixtral_8x7b", "f32"): (50.96, 134.4, 309.7, 722.7, 5783),
        ("mixtral_8x7b", "bf16"): (39.09, 103.9, 243.4, 620.6, 4820),
        ("mixtral_8x7b", "int8"): (26.05, 86.09, 220.4, 768.5, 5008),
        ("mixtral_8x7b", "int4"): (20.55, 56.89, 157.4, 518.8, 4089),
    },
    "ggml CPU_REPACK": {
        ("qwen3_30b_a3b", "int4"): (1.848, 7.184, 23.85, 69.37, 411.6),
        ("mixtral_8x7b", "int4"): (15.62, 61.85, 200.6, 534.3, 3062),
    },
}
