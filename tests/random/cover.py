#!/usr/bin/env python3
"""Writes configs_*.hpp: a pairwise covering array of layer configs that satisfy every rule of Checked<C>.

  cover.py [--seed N] [--rows N] [--files N] [--out FOLDER]

Every pair of values of any two axes that can stand together stands in some row (as far as --rows allows; the coverage
is printed). An axis that means nothing in a row keeps its default and counts for no pair. A maintainer's tool: the
headers it writes are committed; another seed gives another array for a longer run.
"""
import argparse, os, random

AXES = {
    'dtype': ['bf16', 'fp32', 'fp16'], 'weights': ['bf16', 'fp32', 'fp16'], 'stored': ['same', 'fp32'],
    'experts': [8, 1, 2, 3, 7, 60, 64], 'top_k': [2, 1, 3, 6, 'all'],
    'hidden': [64, 1, 7, 33, 40], 'ffn': [32, 1, 5, 17, 48, 65],
    'input': ['hidden', 'separate', 'logits', 'token_ids', 'given'],
    'precision': ['matmul_then_fp32', 'fp32', 'model'], 'router_weights': ['bf16', 'fp32', 'fp16'],
    'bias': [0, 1], 'soft_cap': [0, 3], 'score': ['softmax', 'identity', 'sigmoid', 'sqrt_softplus'],
    'select_bias': [0, 1], 'select': ['top_k', 'group_top_k', 'table', 'sparse_mixer', 'expert_choice'],
    'groups': [1, 2, 4, 20], 'groups_kept': [1, 2, 3], 'group_score': ['top2_sum', 'max'], 'group_fill': ['minus_infinity', 'zero'],
    'post': ['none', 'softmax', 'sigmoid'], 'normalise': ['sum_add', 'none', 'sum_clamp'], 'epsilon': [0, 1e-20, 0.25],
    'scale': [1, 2.5], 'scale_on': ['weights', 'routed_sum'], 'expert_scale': [0, 1], 'place': ['output', 'input'],
    'round_weight': [0, 1], 'noise': ['none', 'jitter', 'softplus', 'gumbel', 'random_second'],
    'rounding': ['none', 'mesh', 'flaxformer', 'deepspeed', 'megablocks', 'fastmoe', 'nllb'], 'factor': [1, 0.5, 1.25], 'minimum': [0, 4],
    'order': ['sequence', 'probability', 'random'], 'when': ['before', 'after'],
    'act': ['silu_mul', 'gelu_tanh_mul', 'gelu_mul', 'relu_mul', 'oai_mul', 'silu_mul_clamp_before', 'silu_mul_clamp_after',
            'situ_mul', 'relu2', 'relu', 'gelu'],
    'limit': [7, 0.75], 'expert_bias': [0, 1], 'latent': [0, 5, 32], 'latent_norm': ['none', 'rms'], 'identity': [0, 2], 'skip': [0, 1],
    'shared_ffn': [0, 6, 48], 'count': [1, 2], 'mix': ['sum', 'sigmoid_gate', 'average', 'coefficients', 'router_rows'],
    'shared_weights': ['bf16', 'fp32', 'fp16'], 'shared_limit': [0, 2], 'combine': ['fp32', 'model'],
}
NAMES = list(AXES)


def k_of(c): return c['experts'] if c['top_k'] == 'all' else c['top_k']
def candidates(c): return c['experts'] + c['identity'] + c['skip']
def learned(c): return c['input'] not in ('given', 'token_ids')
def reads(c): return c['input'] in ('hidden', 'separate')
def dropping(c): return c['rounding'] != 'none'
def rows(c): return c['shared_ffn'] and c['mix'] == 'router_rows'


# Each rule of Checked<C>: the axes that could mend it, and what must hold.
RULES = [
    (('experts', 'top_k', 'identity', 'skip'), lambda c: k_of(c) <= candidates(c)),
    (('score', 'post'), lambda c: c['score'] == 'identity' or c['post'] == 'none'),
    (('groups', 'experts', 'identity', 'skip'), lambda c: candidates(c) % c['groups'] == 0),
    (('groups', 'groups_kept'), lambda c: c['groups_kept'] <= c['groups']),
    (('groups', 'select'), lambda c: c['groups'] == 1 or c['select'] == 'group_top_k'),
    (('groups', 'select', 'groups_kept', 'top_k', 'experts'), lambda c: c['select'] != 'group_top_k' or k_of(c) <= candidates(c) // c['groups'] * c['groups_kept']),
    (('select', 'group_score', 'groups', 'experts'), lambda c: c['select'] != 'group_top_k' or c['group_score'] == 'max' or candidates(c) // c['groups'] >= 2),
    (('select', 'top_k'), lambda c: c['select'] != 'sparse_mixer' or k_of(c) == 2),
    (('select', 'score', 'post', 'select_bias', 'normalise'), lambda c: c['select'] != 'sparse_mixer' or (c['score'] == 'identity' and c['post'] == 'none' and not c['select_bias'] and c['normalise'] == 'none')),
    (('select', 'post', 'select_bias', 'normalise', 'mix', 'identity', 'skip'), lambda c: c['select'] != 'expert_choice' or (c['post'] == 'none' and not c['select_bias'] and c['normalise'] == 'none' and not rows(c) and not c['identity'] and not c['skip'])),
    (('select', 'noise'), lambda c: c['select'] != 'expert_choice' or c['noise'] != 'random_second'),
    (('input', 'select'), lambda c: c['input'] != 'token_ids' or c['select'] == 'table'),
    (('input', 'noise'), lambda c: c['input'] != 'token_ids' or c['noise'] == 'none'),
    (('input', 'select'), lambda c: c['input'] != 'given' or c['select'] != 'table'),
    (('noise', 'input'), lambda c: c['noise'] not in ('softplus', 'jitter') or reads(c)),
    (('noise', 'top_k', 'experts'), lambda c: c['noise'] != 'random_second' or k_of(c) == 2),
    (('place', 'identity', 'skip'), lambda c: c['place'] == 'output' or not (c['identity'] or c['skip'])),
    (('place', 'scale_on'), lambda c: c['place'] == 'output' or c['scale_on'] == 'weights'),
    (('rounding', 'identity', 'skip'), lambda c: not dropping(c) or not (c['identity'] or c['skip'])),
    (('rounding', 'when', 'expert_scale'), lambda c: not dropping(c) or c['when'] == 'before' or not c['expert_scale']),
    (('rounding', 'when', 'normalise'), lambda c: not dropping(c) or c['when'] == 'before' or c['normalise'] != 'none'),
    (('latent', 'identity', 'skip'), lambda c: not c['latent'] or not (c['identity'] or c['skip'])),
    (('latent', 'latent_norm'), lambda c: c['latent'] or c['latent_norm'] == 'none'),
    (('count', 'shared_ffn'), lambda c: not c['shared_ffn'] or c['shared_ffn'] % c['count'] == 0),
    (('mix', 'score', 'shared_ffn', 'input'), lambda c: not rows(c) or (c['score'] == 'sigmoid' and learned(c))),
    # What follows is stricter than Checked<C> in places: combinations whose meaning the documents do not fix.
    (('noise', 'input'), lambda c: c['noise'] == 'none' or learned(c)),
    (('noise', 'select'), lambda c: c['noise'] != 'gumbel' or c['select'] in ('top_k', 'group_top_k')),
    (('noise', 'select_bias'), lambda c: c['noise'] != 'gumbel' or not c['select_bias']),
    (('noise', 'select'), lambda c: c['noise'] == 'none' or c['select'] != 'sparse_mixer'),
    (('rounding', 'when', 'mix'), lambda c: not dropping(c) or c['when'] == 'before' or not rows(c)),
]
# When an axis means something; otherwise it keeps its default.
ACTIVE = {
    'precision': learned, 'router_weights': reads, 'bias': learned, 'soft_cap': learned, 'score': learned,
    'select': lambda c: c['input'] != 'given',
    'select_bias': lambda c: learned(c) and c['select'] in ('top_k', 'group_top_k'),
    'groups': lambda c: c['select'] == 'group_top_k' and c['input'] != 'given',
    'groups_kept': lambda c: c['groups'] > 1, 'group_score': lambda c: c['groups'] > 1, 'group_fill': lambda c: c['groups'] > 1,
    'post': learned, 'normalise': lambda c: c['input'] != 'given' or dropping(c), 'epsilon': lambda c: c['normalise'] != 'none',
    'scale_on': lambda c: c['scale'] != 1, 'expert_scale': lambda c: c['input'] != 'given' and c['select'] != 'expert_choice',
    'round_weight': lambda c: c['input'] != 'given', 'noise': learned,
    'factor': lambda c: dropping(c) or c['select'] == 'expert_choice', 'minimum': lambda c: dropping(c),
    'order': lambda c: dropping(c) and c['select'] != 'expert_choice', 'when': lambda c: dropping(c) and c['select'] != 'expert_choice',
    'limit': lambda c: c['act'] in ('oai_mul', 'silu_mul_clamp_before', 'silu_mul_clamp_after', 'situ_mul'),
    'latent_norm': lambda c: c['latent'], 'count': lambda c: c['shared_ffn'], 'mix': lambda c: c['shared_ffn'],
    'shared_weights': lambda c: c['shared_ffn'], 'shared_limit': lambda c: c['shared_ffn'],
}


def settle(c):
    """Inactive axes to their defaults; returns the active ones."""
    for _ in range(3):
        for n, f in ACTIVE.items():
            if not f(c): c[n] = AXES[n][0]
    return {n for n in NAMES if n not in ACTIVE or ACTIVE[n](c)}


def complete(rng, fixed):
    """A config with the fixed values, all rules kept, or None."""
    c = {n: fixed.get(n, rng.choice(AXES[n]) if rng.random() < 0.75 else AXES[n][0]) for n in NAMES}
    for _ in range(120):
        settle(c)
        lost = [n for n in fixed if c[n] != fixed[n]]
        if lost:                                           # a fixed axis went inactive: shake something else
            c.update(fixed)
            n = rng.choice([n for n in NAMES if n not in fixed])
            c[n] = rng.choice(AXES[n])
        broken = [axes for axes, ok in RULES if not ok(c)]
        if not broken and not lost:
            return c
        if broken:
            free = [n for n in rng.choice(broken) if n not in fixed]
            if free:
                n = rng.choice(free)
                c[n] = rng.choice(AXES[n])
    return None


def pairs(c):
    active = sorted(settle(c), key=NAMES.index)
    return {((a, c[a]), (b, c[b])) for i, a in enumerate(active) for b in active[i + 1:]}


def cover(rng, limit):
    """Greedy: the row with most pairs not yet seen, out of a pool of random configs, and of configs made for single pairs."""
    pool = []
    def grow(fixed):
        c = complete(rng, fixed)
        if c: pool.append((c, pairs(c)))
        return c
    for _ in range(3000): grow({})
    seen = set().union(*(p for _, p in pool))
    for a in NAMES:
        for b in NAMES[NAMES.index(a) + 1:]:
            for v in AXES[a]:
                for w in AXES[b]:
                    if ((a, v), (b, w)) not in seen:       # rare, or impossible
                        for _ in range(4):
                            if grow({a: v, b: w}): break
    todo = set().union(*(p for _, p in pool))
    total, out = len(todo), []
    while todo and len(out) < limit:
        c, p = max(rng.sample(pool, min(len(pool), 1500)), key=lambda row: len(row[1] & todo))
        if len(p & todo) < 60:                             # the pool is used up: build a row around what is missing
            wanted = sorted(rng.sample(sorted(todo, key=str), min(len(todo), 40)), key=str)
            fixed = {}
            for pair in wanted:
                more = {**fixed, **dict(pair)}
                if all(more[n] == v for n, v in fixed.items()) and complete(rng, more): fixed = more
            d = complete(rng, fixed)
            if d and len(pairs(d) & todo) > len(p & todo): c, p = d, pairs(d)
        if p & todo:
            out.append(c)
            todo -= p
    return out, total, len(todo)


def number(v): return repr(v) + ('f' if isinstance(v, float) else '')


def text(c):
    """Designated initialisers of what is not a default of config.hpp."""
    def part(fields): return ', '.join(f'.{n} = {v}' for n, v in fields if v is not None)
    def enum(t, n, default): return None if c[n] == default else f'ct::{t}::{c[n]}'
    def plain(n, default): return None if c[n] == default else number(c[n])
    noise_size = {'jitter': '0.1f', 'softplus': '0.01f', 'gumbel': '0.5f', 'random_second': '0.5f'}.get(c['noise'])
    if c['select'] == 'sparse_mixer': noise_size = '0.01f' if c['experts'] % 2 else '0.2f'
    router = part([
        ('input', enum('RouterInput', 'input', 'hidden')), ('precision', enum('Precision', 'precision', 'matmul_then_fp32')),
        ('weights', enum('DType', 'router_weights', 'bf16')), ('bias', plain('bias', 0)), ('soft_cap', plain('soft_cap', 0)),
        ('score', enum('Score', 'score', 'softmax')), ('select_bias', plain('select_bias', 0)), ('select', enum('Select', 'select', 'top_k')),
        ('groups', plain('groups', 1)), ('groups_kept', plain('groups_kept', 1)), ('group_score', enum('GroupScore', 'group_score', 'top2_sum')),
        ('group_fill', enum('Fill', 'group_fill', 'minus_infinity')), ('post', enum('Post', 'post', 'none')),
        ('normalise', enum('Normalise', 'normalise', 'sum_add')), ('epsilon', plain('epsilon', 0)), ('scale', plain('scale', 1)),
        ('scale_on', enum('ScaleOn', 'scale_on', 'weights')), ('expert_scale', plain('expert_scale', 0)), ('place', enum('Place', 'place', 'output')),
        ('round_weight', plain('round_weight', 0)), ('noise', enum('Noise', 'noise', 'none')), ('noise_size', noise_size)])
    capacity = part([('rounding', enum('Rounding', 'rounding', 'none')), ('factor', plain('factor', 1)), ('minimum', plain('minimum', 0)),
                     ('order', enum('Order', 'order', 'sequence')), ('normalise', enum('When', 'when', 'before'))])
    expert = part([('act', enum('Act', 'act', 'silu_mul')), ('alpha', '4' if c['act'] == 'situ_mul' else None), ('limit', plain('limit', 7)),
                   ('bias', plain('expert_bias', 0)), ('latent', plain('latent', 0)), ('latent_norm', enum('LatentNorm', 'latent_norm', 'none')),
                   ('identity', plain('identity', 0)), ('skip', plain('skip', 0))])
    shared = part([('ffn', plain('shared_ffn', 0)), ('count', plain('count', 1)), ('mix', enum('SharedMix', 'mix', 'sum')),
                   ('weights', enum('DType', 'shared_weights', 'bf16')), ('limit', plain('shared_limit', 0))])
    top = part([('experts', c['experts']), ('top_k', k_of(c)), ('hidden', c['hidden']), ('ffn', c['ffn']), ('dtype', enum('DType', 'dtype', 'bf16')),
                ('weights', enum('DType', 'weights', 'bf16'))])
    for name, body in (('router', router), ('capacity', capacity), ('expert', expert), ('shared', shared)):
        if body: top += f',\n    .{name} = {{{body}}}'
    if c['combine'] == 'model': top += ',\n    .combine = ct::Accumulate::model'
    return top


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--rows', type=int, default=128)
    p.add_argument('--files', type=int, default=8)
    p.add_argument('--out', default=os.path.dirname(os.path.abspath(__file__)))
    a = p.parse_args()
    found, total, left = cover(random.Random(a.seed), a.rows)
    print(f'{len(found)} configs, {total - left} of {total} pairs')
    for f in range(a.files):
        mine = list(enumerate(found))[f::a.files]
        with open(os.path.join(a.out, f'configs_{f}.hpp'), 'w') as out:
            out.write(f'// Written by cover.py --seed {a.seed} --rows {a.rows}: {len(found)} configs, {total - left} of {total} pairs of values.\n#pragma once\n#include "compiled.hpp"\n\nnamespace cases {{\n\n')
            for i, c in mine: out.write(f'inline constexpr ct::Config config_{i}{{{text(c)}}};\n')
            out.write(f'\ninline void add_{f}(std::vector<std::unique_ptr<Subject>>& to) {{\n')
            for i, c in mine:
                stored = ', ct::DType::fp32' if c['stored'] == 'fp32' and c['weights'] != 'fp32' else ''
                out.write(f'  to[{i}].reset(new Compiled<config_{i}{stored}>);\n')
            out.write('}\n\n}\n')
    with open(os.path.join(a.out, 'configs.hpp'), 'w') as out:
        out.write(f'// Written by cover.py --seed {a.seed} --rows {a.rows}.\n#pragma once\n#include "../cases.hpp"\n\nnamespace cases {{\n\ninline constexpr std::size_t configs = {len(found)};\nusing Subjects = std::vector<std::unique_ptr<Subject>>;\n')
        for f in range(a.files): out.write(f'void compile_{f}(Subjects& to);\n')
        out.write('inline void compile_all(Subjects& to) {\n')
        for f in range(a.files): out.write(f'  compile_{f}(to);\n')
        out.write('}\n\n}\n')


if __name__ == '__main__':
    main()
