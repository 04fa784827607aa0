#!/usr/bin/env python3
"""Our layer beside its peers on this machine's processor: the same weights, tokens, routing and threads, call by call in turns, new tokens
before every call. bench/peers/run.sh installs what this needs and starts it.

    peers.py --ours PROGRAM [--quick] [--types bf16,int4] [--shapes NAME,...] [--tokens 1,64] [--peers NAME,...] [--threads N] [--seconds N] [--json FILE]

A cell's figure is its best call. "~": that call got less than 90 % of its threads' CPU time, from other processes or because the
library let threads wait: not to be compared. Percentages are of the bandwidth and peak measured in the same run by our process.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import elsewhere
import engine
import exchange
import figures

SETTLE = 0.06  # seconds between calls: some libraries' threads spin for 50 ms after one
LOAD_SECONDS = 900


def environment(threads):
    """A spinning thread takes its time from the other process, so OpenMP waits asleep; memory in huge pages, as ours is."""
    own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
           "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "THP_MEM_ALLOC_ENABLE": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    return {**os.environ, **own}


def available_bytes():
    return next(1024 * int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable"))


class Bench:
    def __init__(self, options):
        import numpy

        self.np, self.options = numpy, options
        self.random = numpy.random.default_rng(7)
        self.have = {tuple(line.split()) for line in subprocess.check_output([options.ours, "--list"], text=True).splitlines()}
        self.cells, self.missing = [], []
        self.header = False
        self.read, self.peak = 0.0, {}  # the best seen in this run: every start of our process measures again

    def start(self, command, log):
        return exchange.Process(command, environment(self.options.threads), os.path.join(self.folder, log), LOAD_SECONDS)

    def start_ours(self, shape, type):
        ours = self.start([self.options.ours, self.folder, shape, type, str(self.options.threads)], "ours.log")
        if ours.ready["shape"] != list(exchange.SHAPES[shape]):
            raise exchange.Failed(f"ours computes {ours.ready['shape']}, want {list(exchange.SHAPES[shape])}")
        ready = ours.ready
        if not self.header:
            print(f"{ready['processor']}, {self.options.threads} threads, path {ready['path']}; {ready['compiler']}; {ready['commit']}; {ready['date']}")
            self.header = True
        self.read, self.peak[type] = max(self.read, ready["read"]), max(self.peak.get(type, 0.0), ready["peak"])
        print(f"\n{shape} {type}: measured here: read {1e-9 * self.read:.1f} GB/s, peak {1e-9 * self.peak[type]:.0f} GFLOP/s")
        return ours

    def output(self, process, tokens):
        process.ask("output")
        return self.layer.read("y.f32", self.layer.shape.hidden, tokens).ravel().tolist()

    def cell(self, ours, peer, tokens, type):
        """Calls in turns until the time is over; which of both goes first changes. The first call of each is compared, not counted."""
        both, calls, distance = (ours, peer), ([], []), 0.0
        end, turn = time.monotonic() + self.options.seconds, 0
        while turn < 4 or time.monotonic() < end:
            self.layer.tokens(self.random, tokens)
            for side in both:  # ours first: it writes the routing
                side.ask(f"input {tokens}")
            hit = len(self.np.unique(self.layer.read("expert.i32", self.layer.shape.top_k, tokens)))
            for side in (0, 1) if turn % 2 else (1, 0):
                time.sleep(SETTLE)
                call = both[side].run()
                if turn or call[0] > 3:
                    calls[side].append((*call, hit))
            if turn == 0:
                want, got = self.output(ours, tokens), self.output(peer, tokens)
                distance = figures.difference(got, want)
                if not distance <= figures.TOLERANCE[type]:
                    raise exchange.Failed(f"differs from ours by {distance:.3g}, more than {figures.TOLERANCE[type]}: not the same layer")
            turn += 1
        return calls, distance

    def row(self, shape, type, name, tokens, ours, peer, calls, distance):
        threads, (E, K, H, F) = self.options.threads, self.layer.shape
        cell = {"shape": shape, "type": type, "tokens": tokens, "name": name, "about": peer.ready["ready"], "difference": distance,
                "read": self.read, "peak": self.peak[type]}  # fmt: skip
        for side, process, made in (("ours", ours, calls[0]), ("peer", peer, calls[1])):
            *call, hit = figures.best(made)
            weights, work = figures.weight_bytes(hit, H, F, process.ready["bits"]), figures.flops(tokens, K, H, F)
            walls = sorted(c[0] for c in made)
            cell[side] = {"ms": 1e3 * call[0], "median_ms": 1e3 * walls[len(walls) // 2], "calls": len(made), "cpu_share": figures.share(call, threads),
                          "mark": figures.mark(call, threads), "hit": hit, "GB/s": 1e-9 * weights / call[0], "TFLOP/s": 1e-12 * work / call[0],
                          "bandwidth_%": 100 * weights / call[0] / self.read,
                          "roofline_%": 100 * figures.floor(weights, work, self.read, self.peak[type]) / call[0]}  # fmt: skip
        cell["ratio"] = cell["peer"]["ms"] / cell["ours"]["ms"]
        self.cells.append(cell)
        show = lambda s: f"{s['mark'] or ' '}{s['ms']:9.3f} ms {100 * s['cpu_share']:4.0f}% {s['GB/s']:6.1f} GB/s {s['bandwidth_%']:4.0f}% {s['TFLOP/s']:6.3f} TFLOP/s"
        print(f"  T={tokens:<4} {name:22} hit {cell['ours']['hit']:3} | ours {show(cell['ours'])} roof {cell['ours']['roofline_%']:3.0f}% | "
              f"peer {show(cell['peer'])} | peer/ours {cell['ratio']:6.2f} | difference {distance:.1e}", flush=True)  # fmt: skip

    def miss(self, shape, type, name, why):
        self.missing.append({"shape": shape, "type": type, "peer": name, "why": why})
        print(f"  {name:29} not run: {why}", flush=True)

    def compare(self, shape, type):
        if (shape, type) not in self.have:
            return self.miss(shape, type, "ours", "our program has no such row")
        E, K, H, F = self.layer.shape
        ours_bytes = {"f32": 4, "bf16": 2, "int8": 1.1, "fp8": 1.1, "int4": 0.6, "mxfp4": 0.6}[type.removesuffix("a8")]
        need = 3 * E * H * F * (ours_bytes + 1.8 * max(2, ours_bytes)) + 1e9  # a peer packs from a copy
        if need > available_bytes():
            return self.miss(shape, type, "ours", f"{1e-9 * need:.0f} GB of memory are needed, {1e-9 * available_bytes():.0f} GB are available")
        ours = self.start_ours(shape, type)
        try:
            for name in engine.TYPES[type]:
                if self.options.peers and name not in self.options.peers:
                    continue
                peer = None
                try:
                    peer = self.start([sys.executable, engine.__file__, self.folder, shape, name, type, str(self.options.threads)], "peer.log")
                    for tokens in self.options.tokens:
                        self.row(shape, type, name, tokens, ours, peer, *self.cell(ours, peer, tokens, type))
                except exchange.Failed as e:
                    if ours.child.poll() is not None:
                        raise
                    self.miss(shape, type, name, str(e))
                finally:
                    if peer:
                        peer.close()
        finally:
            ours.close()

    def run(self):
        for shape in self.options.shapes:
            need = 6 * exchange.SHAPES[shape].experts * exchange.SHAPES[shape].hidden * exchange.SHAPES[shape].ffn
            place = "/dev/shm" if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 1.2 * need else None
            with tempfile.TemporaryDirectory(prefix="coterie-peers-", dir=place) as self.folder:
                self.layer = exchange.Layer(self.folder, exchange.SHAPES[shape])
                self.layer.create(seed=1)
                for type in self.options.types:
                    self.compare(shape, type)

    def summary(self):
        """Of every shape, type and token count: the fastest peer that was run here."""
        print("\nfastest peer of each cell (peer/ours; below 1 the peer is faster; ~: marked on either side)")
        for shape in self.options.shapes:
            for type in self.options.types:
                parts = []
                for tokens in self.options.tokens:
                    cells = [c for c in self.cells if (c["shape"], c["type"], c["tokens"]) == (shape, type, tokens)]
                    if cells:
                        c = min(cells, key=lambda c: c["ratio"])
                        parts.append(f"T={tokens} {c['ours']['mark'] or c['peer']['mark']}{c['ratio']:.2f} {c['name']}")
                if parts:
                    print(f"  {shape} {type}: " + ", ".join(parts))
        if self.options.peers:
            return
        ran = {(c["name"], c["shape"], c["type"]) for c in self.cells}
        print(f"\nnot run here, for reference only, not side by side ({elsewhere.MACHINE}), ms at T = {', '.join(map(str, elsewhere.TOKENS))}")
        for peer, rows in elsewhere.FIGURES.items():
            for (shape, type), times in rows.items():
                if shape in self.options.shapes and type in self.options.types and (peer, shape, type) not in ran:
                    print(f"  {peer:16} {shape} {type}: " + ", ".join(f"{ms:g}" for ms in times))


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = lambda text: text.split(",")
    parse.add_argument("--ours", required=True)
    parse.add_argument("--quick", action="store_true", help="f32 and bf16, Qwen3's shape, T = 1 and 64, 3 seconds a cell")
    parse.add_argument("--types", type=words)
    parse.add_argument("--shapes", type=words)
    parse.add_argument("--tokens", type=lambda text: [int(t) for t in words(text)])
    parse.add_argument("--peers", type=words)
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--seconds", type=float)
    parse.add_argument("--json")
    options = parse.parse_args()
    options.types = options.types or (["f32", "bf16"] if options.quick else list(engine.TYPES))
    options.shapes = options.shapes or (["qwen3_30b_a3b"] if options.quick else list(exchange.SHAPES))
    options.tokens = options.tokens or ([1, 64] if options.quick else [1, 4, 16, 64, 512])
    options.seconds = options.seconds or (3 if options.quick else 5)
    for given, known in ((options.types, engine.TYPES), (options.shapes, exchange.SHAPES), (options.peers or [], engine.MODULES)):
        for name in given:
            if name not in known:
                parse.error(f"{name}: want one of {', '.join(known)}")
    bench = Bench(options)
    try:
        bench.run()
    finally:
        if options.json:
            with open(options.json, "w") as out:
                json.dump({"cells": bench.cells, "not_run": bench.missing, "threads": options.threads}, out, indent=1)
    bench.summary()


if __name__ == "__main__":
    main()
