"""ONNX Runtime's CPU operators com.microsoft.MoE (fp32) and QMoE (int8 by row, int4 in groups of 32). The router is outside: logits are
made so that softmax and top-k give the routing of the comparison."""
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

SWIGLU = dict(activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0, normalize_routing_weights=1)


def interleaved(gate_up):
    """[2,F,H] -> [2F,H], gate and up row by row: of its ways of saying SwiGLU the CPU operator takes this one."""
    return gate_up.transpose(1, 0, 2).reshape(-1, gate_up.shape[2])


class Engine:
    bits = 32

    def __init__(self, layer, type, threads):
        self.shape = E, K, H, F = layer.shape
        self.about = f"onnxruntime {onnxruntime.__version__}, {self.operator}"
        fixed = self.weights(layer)
        names = ["x", "logits", *self.inputs]
        kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
        value = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
        inputs = [value("x", TensorProto.FLOAT, ["T", H]), value("logits", TensorProto.FLOAT, ["T", E])]
        inputs += [value(n, kinds[str(a.dtype)], a.shape) for n, a in fixed.items()]
        node = helper.make_node(self.operator, names, ["y"], domain="com.microsoft", k=K, **SWIGLU, **self.attributes)
        graph = helper.make_graph([node], "moe", inputs, [value("y", TensorProto.FLOAT, ["T", H])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(os.environ["OMP_WAIT_POLICY"] == "active")))
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        self.kept = fixed
        for name, array in fixed.items():
            self.binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))

    def input(self, x, expert, weight):
        logits = np.full((len(x), self.shape.experts), -1e4, np.float32)
        np.put_along_axis(logits, expert.astype(np.int64), np.log(weight), 1)
        self.x, self.logits, self.y = x, logits, np.empty_like(x)
        for name in ("x", "logits"):
            self.binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(getattr(self, name)))
        self.binding.bind_output("y", "cpu")

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def output(self):
        return self.binding.copy_outputs_to_cpu()[0]


class Plain(Engine):
    operator, attributes, inputs = "MoE", {}, ["fc1", "", "fc2"]

    def weights(self, layer):
        E, _, H, F = self.shape
        fc1, fc2 = np.empty((E, 2 * F, H), np.float32), np.empty((E, H, F), np.float32)
        for e in range(E):
            fc1[e], fc2[e] = interleaved(layer.gate_up()[e]), layer.down()[e]
        return {"fc1": fc1, "fc2": fc2}


class Quantised(Engine):
    operator, inputs = "QMoE", ["fc1", "fc1_scales", "", "fc2", "fc2_scales"]

    def weights(self, layer):
        E = self.shape.experts
        fc1, fc1_scales = zip(*(self.quantise(interleaved(layer.gate_up()[e]).astype(np.float32)) for e in range(E)))
        fc2, fc2_scales = zip(*(self.quantise(layer.down()[e].astype(np.float32)) for e in range(E)))
        return {"fc1": np.stack(fc1), "fc1_scales": np.stack(fc1_scales), "fc2": np.stack(fc2), "fc2_scales": np.stack(fc2_scales)}


class Int8(Quantised):
    bits, attributes = 8, {"expert_weight_bits": 8}

    def quantise(self, w):
        scale = np.abs(w).max(1) / 127
        return (np.rint(w / scale[:, None]) + 128).astype(np.uint8), scale


class Int4(Quantised):
    bits, attributes = 4, {"expert_weight_bits": 4, "block_size": 32}

    def quantise(self, w):
        groups = w.reshape(len(w), -1, 32)
        scale = np.abs(groups).max(2) / 7
        q = (np.clip(np.rint(groups / scale[..., None]), -8, 7) + 8).astype(np.uint8).reshape(w.shape)
        return q[:, ::2] | q[:, 1::2] << 4, scale


ENGINES = {"onnxruntime": {"f32": Plain, "int8": Int8, "int4": Int4}}
