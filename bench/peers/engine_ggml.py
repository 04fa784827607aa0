"""ggml's CPU backend, from the llama.cpp that llama-cpp-python ships: the graph nodes of llama.cpp's MoE layer, router included. Weights in
the plain buffer, or repacked where the backend takes the type."""
import ctypes
import os

import numpy as np

TYPES = {"f32": 0, "bf16": 30, "int8": 8, "int4": 2, "mxfp4": 39}  # ggml_type: F32, BF16, Q8_0, Q4_0, MXFP4
BITS = {"f32": 32, "bf16": 16, "int8": 8.5, "int4": 4.5, "mxfp4": 4.25}  # scales are part of a block


class Parameters(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def library():
    folder = os.environ.get("PEERS_GGML", "")
    if not os.path.isdir(folder):
        raise RuntimeError("PEERS_GGML does not name the folder with libggml-base.so and libggml-cpu.so")
    base, cpu = (ctypes.CDLL(os.path.join(folder, f"libggml-{name}.so"), ctypes.RTLD_GLOBAL) for name in ("base", "cpu"))
    p, i64, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
    signatures = {
        "init": (p, Parameters), "free": (None, p), "new_tensor_1d": (p, p, ctypes.c_int, i64), "new_tensor_2d": (p, p, ctypes.c_int, i64, i64),
        "new_tensor_3d": (p, p, ctypes.c_int, i64, i64, i64), "mul_mat": (p, p, p, p), "mul_mat_id": (p, p, p, p, p), "soft_max": (p, p, p),
        "argsort_top_k": (p, p, p, ctypes.c_int), "get_rows": (p, p, p, p), "sum_rows": (p, p, p), "div": (p, p, p, p), "mul": (p, p, p, p),
        "add": (p, p, p, p), "swiglu_split": (p, p, p, p), "reshape_2d": (p, p, p, i64, i64), "reshape_3d": (p, p, p, i64, i64, i64),
        "view_2d": (p, p, p, i64, i64, size, size), "new_graph": (p, p), "build_forward_expand": (None, p, p), "nbytes": (size, p),
        "row_size": (size, ctypes.c_int, i64), "quantize_chunk": (size, ctypes.c_int, p, p, i64, i64, i64, p),
        "backend_alloc_ctx_tensors_from_buft": (p, p, p), "backend_tensor_set": (None, p, p, size, size), "backend_tensor_get": (None, p, p, size, size),
        "backend_graph_compute": (ctypes.c_int, p, p), "gallocr_new": (p, p), "gallocr_alloc_graph": (ctypes.c_bool, p, p), "gallocr_free": (None, p),
        "backend_cpu_buffer_type": (p,), "backend_buft_name": (ctypes.c_char_p, p),
        "backend_cpu_init": (p,), "backend_cpu_set_n_threads": (None, p, ctypes.c_int), "backend_cpu_reg": (p,),
        "backend_reg_get_proc_address": (p, p, ctypes.c_char_p), "backend_get_device": (p, p), "set_input": (None, p), "set_output": (None, p),
    }  # fmt: skip
    calls = {}
    for name, types in signatures.items():
        call = getattr(cpu if name in ("backend_cpu_init", "backend_cpu_set_n_threads", "backend_cpu_reg") else base, "ggml_" + name)
        call.restype, call.argtypes = types[0], list(types[1:])
        calls[name] = call
    return calls


class Engine:
    repacked = False

    def __init__(self, layer, type, threads):
        self.shape = E, _, H, F = layer.shape
        self.type, self.bits = TYPES[type], BITS[type]
        self.g = g = library()
        self.backend = g["backend_cpu_init"]()
        g["backend_cpu_set_n_threads"](self.backend, threads)
        self.plain = g["backend_cpu_buffer_type"]()
        buffer = self.repack_buffer() if self.repacked else self.plain
        self.about = f"ggml (llama-cpp-python {os.environ.get('PEERS_GGML_VERSION', '')}, {g['backend_buft_name'](buffer).decode()})"
        weights, router = self.context(), self.context()
        self.gate, self.up = (g["new_tensor_3d"](weights, self.type, H, F, E) for _ in range(2))
        self.down = g["new_tensor_3d"](weights, self.type, F, H, E)
        self.router = g["new_tensor_2d"](router, 0, H, E)
        if not g["backend_alloc_ctx_tensors_from_buft"](weights, buffer) or not g["backend_alloc_ctx_tensors_from_buft"](router, self.plain):
            raise MemoryError("ggml could not allocate the weights")
        self.set(self.router, layer.router())
        for to, source in ((self.gate, layer.gate_up()[:, 0]), (self.up, layer.gate_up()[:, 1]), (self.down, layer.down())):
            self.set(to, self.quantised(source))
        self.graphs, self.tokens = {}, 0

    def context(self):
        return self.g["init"](Parameters(4 << 20, None, True))

    def set(self, to, array):
        self.g["backend_tensor_set"](to, array.ctypes.data, 0, array.nbytes)

    def repack_buffer(self):
        """The backend's other buffer types hang on its registry."""
        find = self.g["backend_reg_get_proc_address"](self.g["backend_cpu_reg"](), b"ggml_backend_dev_get_extra_bufts")
        extra = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(find)(self.g["backend_get_device"](self.backend))
        i = 0
        while extra and extra[i]:
            if self.g["backend_buft_name"](extra[i]) == b"CPU_REPACK":
                return extra[i]
            i += 1
        raise RuntimeError("this ggml has no CPU_REPACK buffer")

    def quantised(self, source):
        if self.type == TYPES["bf16"]:
            return np.ascontiguousarray(source)
        E, rows, inputs = source.shape
        out = np.empty((E, rows, self.g["row_size"](self.type, inputs)), np.uint8)
        for e in range(E):
            wide = np.ascontiguousarray(source[e], np.float32)
            self.g["quantize_chunk"](self.type, wide.ctypes.data, out[e].ctypes.data, 0, rows, inputs, None)
        return out

    def graph(self, tokens):
        g, (E, K, H, _) = self.g, self.shape
        c = self.context()
        x = g["new_tensor_2d"](c, 0, H, tokens)
        scores = g["soft_max"](c, g["mul_mat"](c, self.router, x))
        chosen = g["argsort_top_k"](c, scores, K)
        weight = g["reshape_2d"](c, g["get_rows"](c, g["reshape_3d"](c, scores, 1, E, tokens), chosen), K, tokens)
        weight = g["reshape_3d"](c, g["div"](c, weight, g["sum_rows"](c, weight)), 1, K, tokens)
        rows = g["reshape_3d"](c, x, H, 1, tokens)
        up, gate = g["mul_mat_id"](c, self.up, rows, chosen), g["mul_mat_id"](c, self.gate, rows, chosen)
        out = g["mul"](c, g["mul_mat_id"](c, self.down, g["swiglu_split"](c, gate, up), chosen), weight)
        view = lambda k: g["view_2d"](c, out, H, tokens, K * H * 4, k * H * 4)
        y = view(0)
        for k in range(1, K):
            y = g["add"](c, y, view(k))
        g["set_input"](x)
        g["set_output"](y)
        nodes = g["new_graph"](c)
        g["build_forward_expand"](nodes, y)
        allocator = g["gallocr_new"](self.plain)
        if not g["gallocr_alloc_graph"](allocator, nodes):
            raise MemoryError("ggml could not allocate the graph")
        return c, allocator, nodes, x, y

    def input(self, x, expert, weight):
        if len(x) not in self.graphs:
            self.graphs[len(x)] = self.graph(len(x))
        _, _, self.nodes, to, self.result = self.graphs[len(x)]
        self.set(to, x)
        self.y = np.empty_like(x)

    def run(self):
        if self.g["backend_graph_compute"](self.backend, self.nodes):
            raise RuntimeError("ggml_backend_graph_compute failed")

    def output(self):
        self.g["backend_tensor_get"](self.result, self.y.ctypes.data, 0, self.y.nbytes)
        return self.y


class Repacked(Engine):
    repacked = True


ENGINES = {
    "ggml": dict.fromkeys(TYPES, Engine),
    "ggml CPU_REPACK": {"int4": Repacked, "mxfp4": Repacked},  # of these types x86 repacks no other
}
