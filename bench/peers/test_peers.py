#!/usr/bin/env python3
"""The comparison's arithmetic, and our program over the protocol beside the layer written out here. Usage: test_peers.py PROGRAM"""
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

import engine
import exchange
import figures


class Figures(unittest.TestCase):
    def test_best_is_the_shortest_wall_time(self):
        self.assertEqual(figures.best([(3.0, 1.0), (2.0, 4.0), (2.5, 0.1)]), (2.0, 4.0))

    def test_a_cell_is_marked_below_ninety_percent_of_its_threads(self):
        self.assertAlmostEqual(figures.share((2.0, 3.6), 2), 0.9)
        self.assertEqual(figures.mark((2.0, 3.6), 2), "")
        self.assertEqual(figures.mark((2.0, 3.5), 2), "~")

    def test_work_of_a_mixtral_layer(self):
        self.assertEqual(figures.flops(512, 2, 4096, 14336), 360777252864)
        self.assertEqual(figures.weight_bytes(8, 4096, 14336, 16), 2818572288)
        self.assertEqual(figures.weight_bytes(2, 4096, 14336, 4), 2818572288 / 16)

    def test_floor_is_the_tighter_limit(self):
        self.assertEqual(figures.floor(10.0, 1.0, 5.0, 1.0), 2.0)
        self.assertEqual(figures.floor(10.0, 6.0, 5.0, 2.0), 3.0)

    def test_difference(self):
        self.assertEqual(figures.difference([3.0, 4.0], [3.0, 4.0]), 0)
        self.assertAlmostEqual(figures.difference([3.0, 4.5], [3.0, 4.0]), 0.1)
        self.assertEqual(figures.difference([3.0], [3.0, 4.0]), math.inf)
        self.assertEqual(figures.difference([3.0, math.nan], [3.0, 4.0]), math.inf)

    def test_every_type_has_a_tolerance_and_every_peer_a_module(self):
        for type, peers in engine.TYPES.items():
            self.assertIn(type, figures.TOLERANCE)
            for peer in peers:
                self.assertIn(peer, engine.MODULES)

    def test_our_program_has_every_type_in_every_shape(self):
        rows = subprocess.check_output([PROGRAM, "--list"], text=True).splitlines()
        self.assertEqual(set(rows), {f"{shape} {type}" for shape in ("tiny", *exchange.SHAPES) for type in engine.TYPES})


TINY = exchange.Shape(4, 2, 32, 48)


def rounded(v):
    """To bf16, by cutting off."""
    return struct.unpack("<f", b"\0\0" + struct.pack("<f", v)[2:])[0]


class Protocol(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        E, _, H, F = TINY
        generator = random.Random(5)
        noise = lambda n, inputs: [rounded(generator.gauss(0, inputs**-0.5)) for _ in range(n)]
        self.gate_up, self.down, self.router = noise(E * 2 * F * H, H), noise(E * H * F, F), noise(E * H, H)
        self.x = noise(3 * H, 1)
        for name, values in (("gate_up.bf16", self.gate_up), ("down.bf16", self.down)):
            self.write(name, b"".join(struct.pack("<f", v)[2:] for v in values))
        self.write("router.f32", struct.pack(f"<{E * H}f", *self.router))

    def write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as out:
            out.write(data)

    def read(self, name, kind):
        with open(os.path.join(self.folder, name), "rb") as file:
            data = file.read()
        return list(struct.unpack(f"<{len(data) // 4}{kind}", data))

    def start(self, type):
        process = exchange.Process([PROGRAM, self.folder, "tiny", type, "2"], dict(os.environ), os.path.join(self.folder, "log"), 60)
        self.addCleanup(process.close)
        return process

    def wanted(self, x):
        """Experts, weights and y of one token."""
        E, K, H, F = TINY
        dot = lambda a, at, b: sum(a[at + i] * v for i, v in enumerate(b))
        logits = [dot(self.router, e * H, x) for e in range(E)]
        chosen = sorted(range(E), key=lambda e: -logits[e])[:K]
        scores = [math.exp(logits[e]) for e in chosen]
        y = [0.0] * H
        for e, score in zip(chosen, scores):
            gate, up = ([dot(self.gate_up, ((2 * e + part) * F + f) * H, x) for f in range(F)] for part in (0, 1))
            h = [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]
            for row in range(H):
                y[row] += score / sum(scores) * dot(self.down, (e * H + row) * F, h)
        return chosen, [score / sum(scores) for score in scores], y

    def test_our_program_computes_the_layer(self):
        H = TINY.hidden
        tokens = [self.wanted(self.x[t * H : (t + 1) * H]) for t in range(3)]
        for type in engine.TYPES:
            process = self.start(type)
            self.assertEqual(process.ready["shape"], list(TINY))
            self.assertGreater(process.ready["read"], 0)
            for count in (3, 1):
                self.write("x.f32", struct.pack(f"<{count * H}f", *self.x[: count * H]))
                process.ask(f"input {count}")
                wall, cpu = process.run()
                self.assertGreater(wall, 0)
                self.assertGreaterEqual(cpu, 0)
                process.ask("output")
                self.assertEqual(self.read("expert.i32", "i"), sum((t[0] for t in tokens[:count]), []))
                self.assertLess(figures.difference(self.read("weight.f32", "f"), sum((t[1] for t in tokens[:count]), [])), 1e-5)
                self.assertLess(figures.difference(self.read("y.f32", "f"), sum((t[2] for t in tokens[:count]), [])), figures.TOLERANCE[type])

    def test_what_does_not_fit_is_said(self):
        with self.assertRaisesRegex(exchange.Failed, "no row tiny int3"):
            self.start("int3")
        self.write("down.bf16", b"12")
        with self.assertRaisesRegex(exchange.Failed, "down.bf16 does not have the size"):
            self.start("bf16")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
