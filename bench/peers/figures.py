"""The arithmetic of the table: which call counts, what it is measured against, what is compared. Standard library only."""
import math

ENOUGH = 0.9  # a cell whose best call got less of its threads' CPU time than this is marked


def best(calls):
    """The fastest of calls [(wall, cpu)], seconds."""
    return min(calls, key=lambda call: call[0])


def share(call, threads):
    """CPU time of a call over wall time and threads."""
    wall, cpu = call
    return cpu / wall / threads


def mark(call, threads):
    return "~" if share(call, threads) < ENOUGH else ""


def flops(tokens, top_k, hidden, ffn):
    """Of the experts' three products; the router is not counted."""
    return 6 * tokens * top_k * hidden * ffn


def weight_bytes(hit, hidden, ffn, bits):
    """Of the distinct experts hit, of `bits` each."""
    return hit * 3 * hidden * ffn * bits / 8


def floor(weights, work, read, peak):
    """Seconds that the machine needs at least: bytes over bandwidth, operations over peak."""
    return max(weights / read, work / peak)


def difference(y, want):
    """Norm of y - want over the norm of want; infinite where y has another length or is not finite."""
    if len(y) != len(want) or not all(map(math.isfinite, y)):
        return math.inf
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(y, want))) / math.sqrt(sum(b * b for b in want))


# How far two that compute the same may be apart, by difference(). bf16: eight bits of the products' inputs and of what stands
# between them (measured 5e-4 to 6e-3). The others: each side rounds the bf16 weights in its own way, with one scale for 32 weights or for a
# row, and some round the activations too (measured against bf16: int8 0.03, int4 0.28, mxfp4 0.21). A wrong expert or matrix is off by about 1.
TOLERANCE = {"f32": 1e-4, "bf16": 0.02, "int8": 0.05, "fp8": 0.1, "int4": 0.4, "mxfp4": 0.4, "int8a8": 0.05, "int4a8": 0.4}
