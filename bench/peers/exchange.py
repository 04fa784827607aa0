"""What the processes share: files in a folder, and the line protocol. The driver writes weights and tokens, every engine maps them.

One process computes at a time, on a word from the driver, so that runs alternate call by call.
"""
import json
import os
import select
import subprocess
import sys
import time
from typing import NamedTuple


class Shape(NamedTuple):
    experts: int
    top_k: int
    hidden: int
    ffn: int


SHAPES = {
    "qwen3_30b_a3b": Shape(128, 8, 2048, 768),
    "mixtral_8x7b": Shape(8, 2, 4096, 14336),
}


class Layer:
    """The files of one shape as arrays: gate_up[E,2,F,H] and down[E,H,F] in bf16, router[E,H] in fp32; per call x[T,H], expert[T,K],
    weight[T,K], y[T,H]. numpy is imported here, for the tests do without."""

    def __init__(self, folder, shape):
        import ml_dtypes
        import numpy

        self.np, self.bf16, self.folder, self.shape = numpy, ml_dtypes.bfloat16, folder, shape
        self.path = lambda name: os.path.join(folder, name)

    def _map(self, name, dtype, shape, mode):
        return self.np.memmap(self.path(name), dtype, mode, shape=shape)

    def gate_up(self, mode="r"):
        E, _, H, F = self.shape
        return self._map("gate_up.bf16", self.bf16, (E, 2, F, H), mode)

    def down(self, mode="r"):
        E, _, H, F = self.shape
        return self._map("down.bf16", self.bf16, (E, H, F), mode)

    def router(self):
        return self.np.fromfile(self.path("router.f32"), self.np.float32).reshape(self.shape.experts, self.shape.hidden)

    def read(self, name, columns, tokens):
        dtype = {"f32": self.np.float32, "i32": self.np.int32}[name[-3:]]
        return self.np.fromfile(self.path(name), dtype, tokens * columns).reshape(tokens, columns)

    def create(self, seed):
        """Weights N(0, 1/inputs), every row another window of one block of noise; router N(0, 1/hidden)."""
        np, (E, _, H, F) = self.np, self.shape
        random = np.random.default_rng(seed)
        for array, rows, inputs in ((self.gate_up("w+"), 2 * F, H), (self.down("w+"), H, F)):
            slide, per_expert = 97, 61  # one apart from the other, so that no two rows are the same
            noise = (random.standard_normal(rows * slide + inputs + E * per_expert, np.float32) / np.sqrt(inputs)).astype(self.bf16)
            for e in range(E):
                windows = np.lib.stride_tricks.as_strided(noise[e * per_expert :], (rows, inputs), (slide * 2, 2))
                array[e] = windows.reshape(array[e].shape)
        (random.standard_normal((E, H), np.float32) / np.sqrt(H)).astype(np.float32).tofile(self.path("router.f32"))

    def tokens(self, random, tokens):
        """New tokens N(0,1) that bf16 holds exactly."""
        x = random.standard_normal((tokens, self.shape.hidden), self.np.float32).astype(self.bf16).astype(self.np.float32)
        x.tofile(self.path("x.f32"))


class Failed(Exception):
    pass


class Process:
    """The driver's end of an engine."""

    def __init__(self, command, environment, log, seconds):
        self.log = log
        with open(log, "w") as errors:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        self.seconds = seconds
        try:
            self.ready = self._answer()
        except Failed:
            self.close()
            raise

    def _answer(self):
        if not select.select([self.child.stdout], [], [], self.seconds)[0]:
            self.child.kill()
            raise Failed(f"no answer in {self.seconds} s")
        line = self.child.stdout.readline()
        if not line:
            self.child.wait()
            with open(self.log) as log:
                last = [text for text in log.read().splitlines() if text.strip()]
            raise Failed(f"ended with {self.child.returncode}" + (f": {last[-1]}" if last else ""))
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, command):
        try:
            self.child.stdin.write(command + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the answer says how
        return self._answer()

    def run(self):
        answer = self.ask("run")
        return answer["wall"], answer["cpu"]

    def close(self):
        try:
            self.child.communicate(timeout=10)  # closes its stdin, which ends it
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()


def serve(make, layer):
    """An engine's end: make() gives an object with input(x, expert, weight), run() and output() -> y[T,H]; `about` says what it is."""
    answers = os.fdopen(os.dup(1), "w")  # what libraries print goes to the log
    os.dup2(2, 1)

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    try:
        engine = make()
        answer({"ready": engine.about, "bits": engine.bits})
        _, K, H, _ = layer.shape
        for line in sys.stdin:
            command, *rest = line.split()
            if command == "input":
                tokens = int(rest[0])
                engine.input(layer.read("x.f32", H, tokens), layer.read("expert.i32", K, tokens), layer.read("weight.f32", K, tokens))
                answer({})
            elif command == "run":
                wall, cpu = time.monotonic(), time.process_time()
                engine.run()
                end = time.monotonic()
                answer({"wall": end - wall, "cpu": time.process_time() - cpu})
            elif command == "output":
                layer.np.asarray(engine.output(), layer.np.float32).tofile(layer.path("y.f32"))
                answer({})
            else:
                raise Failed(f"unknown command {command}")
    except Exception as e:  # noqa: BLE001
        answer({"error": f"{type(e).__name__}: {e}"[:300].replace("\n", " ")})
        raise
