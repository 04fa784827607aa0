#!/usr/bin/env python3
"""Compares which files Coterie and the reference reader (PyPI `safetensors`, in Rust) accept. For maintainers:

    python3 -m venv build/venv-safetensors && build/venv-safetensors/bin/pip install safetensors numpy
    c++ -std=c++20 -O2 -Iinclude tests/io/{accepts,hostile}.cpp -o build/accepts
    build/venv-safetensors/bin/python tests/io/differential.py build/accepts [files, 100000] [seed, 1]

Every crafted file is compared, then mutated and random ones. Coterie must accept nothing that the reference rejects,
and must read the same names, shapes and bytes as it. It rejects, on purpose, what the reference (0.8.0) accepts:

  start     white space before the header's '{': the format says that a header begins with '{'
  twice     two tensors, or two metadata entries, of one name: the format forbids it; the reference takes the last
  field     a tensor with a field that the format does not know: the reference ignores it
  sequence  a tensor written as an array ["U8", [1], [0, 1]]: an accident of the reference's deserialiser
  null      "__metadata__": null: the format has a map there
  2^63      a dimension of 2^63 or more, beside one of 0, or in the first of two tensors of one name: our sizes have a sign
"""
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from safetensors import SafetensorError, __version__, deserialize

DELIBERATE = {
    "start": r"header: got '( |\\x09|\\x0a|\\x0d)' at first, want '\{'",
    "twice": r"(tensor|metadata) '.*' stands twice",
    "field": r"tensor '.*': '.*' is no field of a tensor",
    "sequence": r"tensor '.*': got an array, want an object",
    "null": r"tensor '__metadata__': got null, want an object",
    "2^63": r"tensor '.*': '(shape|data_offsets)': got a real number, want integers of 63 bits",
}


class Ours:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, path):
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().rstrip("\n")
        if not answer:
            sys.exit(f"{path}: the program died: {self.process.wait()}")
        verdict, _, rest = answer.partition(" ")
        return (rest, None) if verdict == "reject" else ("", rest.split())


def reference(data):
    """The error, or nothing and the tensors as `accepts` prints them."""
    try:
        tensors = sorted((name.encode(), tensor) for name, tensor in deserialize(data))
    except SafetensorError as error:
        return str(error) or "error", None
    return "", [f"{name.hex()}:{t['dtype']}:{''.join(f'{d},' for d in t['shape'])}:{bytes(t['data']).hex()}" for name, t in tensors]


def judge(ours, theirs):
    """agree, a key of DELIBERATE, or WRONG."""
    if bool(ours) == bool(theirs):
        return "agree"
    if not ours:
        return "WRONG"
    return next((why for why, sentence in DELIBERATE.items() if re.search(sentence, ours)), "WRONG")


TOKENS = [b"0", b"1", b"-1", b"-0", b"4", b"1.0", b"1e0", b"9223372036854775807", b"9223372036854775808",
          b"18446744073709551615", b"18446744073709551616", b"4294967296", b"null", b"true", b"[]", b"{}", b'""', b'"a"',
          b'"F4"', b'"U8"', b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b"[", b"]", b"{", b"}", b",",
          b":", b" ", b"\n", b"\0", b"\\u0061", b"\\ud800", b"\\ud83d\\udc0d", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"/**/"]


def mutated(rng, files):
    data = rng.choice(files)
    header, rest = bytearray(data[8:]), b""
    if len(data) >= 8 and rng.random() < 0.9:   # the length is right again afterwards
        length = min(struct.unpack("<Q", data[:8])[0], len(data) - 8)
        header, rest = bytearray(data[8:8 + length]), data[8 + length:]
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(header))
        span = slice(place, place + rng.choice([0, 0, 1, 1, 2, 5]))
        way = rng.random()
        if way < 0.4:
            header[span] = rng.choice(TOKENS)
        elif way < 0.7 and header:
            numbers = [m.span() for m in re.finditer(rb"\d+", header)]
            if numbers:
                begin, end = rng.choice(numbers)
                header[begin:end] = rng.choice([str(rng.randint(0, 9)).encode(), rng.choice(TOKENS)])
        elif way < 0.8:
            other = rng.randint(0, len(header))
            header[span] = header[min(place, other):max(place, other)][:64]
        elif header:
            header[rng.randrange(len(header))] = rng.randrange(256)
    if rng.random() < 0.1:
        rest = rest[:rng.randint(0, len(rest))] + bytes(rng.randint(0, 2))
    return struct.pack("<Q", len(header) + (rng.randint(-1, 1) if header and rng.random() < 0.05 else 0)) + header + rest


TYPES = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "F8_E8M0": 8, "I16": 16, "BF16": 16, "F32": 32, "C64": 64, "F64": 64}


def generated(rng):
    """A nearly right file: each tensor has its size, then perhaps one number is off by one, and the order is any."""
    fields, end = [], 0
    for i in range(rng.randint(0, 5)):
        dtype = rng.choice(list(TYPES))
        shape = [rng.choice([0, 1, 2, 3, 4, 8]) for _ in range(rng.randint(0, 3))]
        bits = TYPES[dtype]
        for d in shape:
            bits *= d
        begin, end = end, end + bits // 8
        offsets = [begin, end]
        if rng.random() < 0.1:
            offsets[rng.randint(0, 1)] += rng.choice([-1, 1])
        if rng.random() < 0.05 and shape:
            shape[rng.randrange(len(shape))] += 1
        parts = [f'"dtype":"{dtype}"', f'"shape":{shape}', f'"data_offsets":{offsets}']
        rng.shuffle(parts)
        fields.append(f'"{i}":{{{",".join(parts)}}}')
    if rng.random() < 0.2:
        fields.append('"__metadata__":{"format":"pt"}')
    rng.shuffle(fields)
    header = ("{" + ",".join(fields) + "}" + " " * rng.randint(0, 3)).encode()
    return struct.pack("<Q", len(header)) + header + bytes(max(0, end + (rng.choice([-1, 1]) if rng.random() < 0.05 else 0)))


def main():
    program, count, seed = sys.argv[1], int((sys.argv + [0, 0])[2] or 100_000), int((sys.argv + [0, 0, 0])[3] or 1)
    ours, rng, tally, wrong = Ours(program), random.Random(seed), Counter(), 0
    print(f"reference: safetensors {__version__}")

    def compare(kind, path, data, show):
        nonlocal wrong
        (mine, tensors), (theirs, expected) = ours(path), reference(data)
        verdict = judge(mine, theirs) if mine or theirs or tensors == expected else "WRONG"
        tally[kind, verdict, "both accept" if not mine and not theirs else ""] += 1
        if verdict == "WRONG":
            wrong += 1
            print(f"WRONG: {show}\n  ours: {mine or 'accept'}\n  reference: {theirs or 'accept'}")
        elif verdict != "agree" and kind == "crafted":
            print(f"deliberate, {verdict}: {show}")

    with tempfile.TemporaryDirectory() as folder:
        listed = subprocess.run([program, "--write", folder], check=True, capture_output=True, text=True).stdout.split("\n")
        files = []
        for path in listed:
            if path.endswith(".safetensors"):
                data = Path(path).read_bytes()
                compare("crafted", path, data, Path(path).parent.name)
                if len(data) < 5000:
                    files.append(data)
        path = Path(folder) / "mutated.safetensors"
        for i in range(count):
            data = generated(rng) if i % 4 == 0 else mutated(rng, files)
            path.write_bytes(data)
            compare("generated" if i % 4 == 0 else "mutated", path, data, data[:300])
    for (kind, verdict, accepted), n in sorted(tally.items()):
        print(f"{kind:10} {verdict:9} {n:8} {accepted}")
    print(f"{sum(tally.values())} files compared, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
