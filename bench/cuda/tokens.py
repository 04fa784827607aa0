"""The tokens and the router of bench_cuda, value by value: noise.hpp and ../trace.hpp again, so that peers.py routes what our layers route.

    tokens.py EXPERTS TOP_K HIDDEN TOKENS     the bits of the router's rows and of each trace's tokens, as tokens.cpp prints them
"""
import math
import struct
import sys

TRACES = ("uniform", "zipf", "one")
MASK = (1 << 64) - 1


def to_float(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bf16_bits(x):
    """Of a float: to nearest, ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def quarters(word):
    return (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48) - 131070


SCALE = to_float(1.7320508) / 65536


def noise_at(i, seed):
    w = (i + (seed << 40)) * 0x9E3779B97F4A7C15 & MASK
    w = (w ^ w >> 30) * 0xBF58476D1CE4E5B9 & MASK
    w = (w ^ w >> 27) * 0x94D049BB133111EB & MASK
    return to_float(quarters(w ^ w >> 31) * SCALE)


def token_seed(tokens):
    return 100 + tokens


def steer(trace, column):
    return 1.0 if trace == ("zipf", "one")[column] else 0.0


def token(trace, tokens, hidden, i):
    """Element i of x[tokens, hidden], a float."""
    column = i % hidden
    return steer(trace, column) if column < 2 else noise_at(i, token_seed(tokens))


def router_rows(experts, top_k, hidden):
    """The router [experts, hidden]: rows of floats that bf16 has still to round."""
    state, root = (0x9E3779B97F4A7C15 + 1) & MASK, to_float(math.sqrt(hidden))
    rows = []
    for e in range(experts):
        row = []
        for _ in range(hidden):
            state ^= state >> 12
            state ^= state << 25 & MASK
            state ^= state >> 27
            row.append(to_float(to_float(quarters(state * 0x2545F4914F6CDD1D & MASK) * SCALE) / root))
        row[0], row[1] = to_float(-math.log(e + 1)), 40.0 if e < top_k else 0.0
        rows.append(row)
    return rows


def tokens_on(torch, device, trace, tokens, hidden):
    """x[tokens, hidden] in bf16 on the device, checked against the values above."""
    signed = lambda c: c - (1 << 64) if c >> 63 else c
    shifted = lambda w, n: (w >> n) & ((1 << (64 - n)) - 1)  # torch's >> keeps the sign
    w = (torch.arange(tokens * hidden, device=device, dtype=torch.int64) + (token_seed(tokens) << 40)) * signed(0x9E3779B97F4A7C15)
    w = (w ^ shifted(w, 30)) * signed(0xBF58476D1CE4E5B9)
    w = (w ^ shifted(w, 27)) * signed(0x94D049BB133111EB)
    w = w ^ shifted(w, 31)
    sum = (w & 0xFFFF) + (shifted(w, 16) & 0xFFFF) + (shifted(w, 32) & 0xFFFF) + shifted(w, 48)
    x = ((sum - 131070).float() * SCALE).to(torch.bfloat16).view(tokens, hidden)
    x[:, 0], x[:, 1] = steer(trace, 0), steer(trace, 1)
    flat = x.view(torch.int16).flatten()
    for i in {0, 1, 2, hidden - 1, tokens * hidden // 2, tokens * hidden - 1}:
        got, want = int(flat[i]) & 0xFFFF, bf16_bits(token(trace, tokens, hidden, i))
        if got != want:
            raise RuntimeError(f"x[{i}] has the bits {got:04x}, want {want:04x}")
    return x


def main():
    experts, top_k, hidden, tokens = map(int, sys.argv[1:])
    for row in router_rows(experts, top_k, hidden):
        print("router", *(f"{bf16_bits(v):04x}" for v in row))
    for trace in TRACES:
        print(trace, *(f"{bf16_bits(token(trace, tokens, hidden, i)):04x}" for i in range(tokens * hidden)))


if __name__ == "__main__":
    main()
