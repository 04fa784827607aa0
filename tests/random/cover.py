#!/usr/bin/env python3
"""Writes configs_*.hpp: a pairwise covering array of layer configs that satisfy every rule of Checked<C>.

  cover.py [--seed N] [--rows N] [--tries N] [--files N] [--out FOLDER]

Every pair of values of any two axes that can stand together stands in some row, unless --rows stops it earlier; which
pairs can is decided by search, and the count of those that no config can have is printed. An axis that means nothing in a
row keeps its default and counts for no pair. Quantised experts have a file of their own, which only backends that compute
with them include: one config for each of some ways to quantise, each made of what pairs were not yet there. A maintainer's
tool: the headers it writes are committed; another seed gives another array for a longer run.
"""
import argparse, os, random

AXES = {
    'dtype': ['bf16', 'fp32', 'fp16'], 'weights': ['bf16', 'fp32', 'fp16'], 'stored': ['same', 'fp32'],
    'experts': [8, 1, 2, 3, 7, 60, 64], 'top_k': [2, 1, 3, 4, 6, 8, 'all'],
    'hidden': [64, 1, 7, 8, 33, 40], 'ffn': [32, 1, 5, 17, 48, 65],
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
# What quantised experts have instead. weights: type, group, group_rows, zero_points; of each type the first, third, … is
# multiplied by bf16, which has paths of its own. Sizes are such that rows have several groups.
QUANTISED = {
    'weights': [('int8', 0, 1, 0), ('int8', 32, 1, 0), ('int8', 128, 1, 1), ('int4', 32, 1, 0), ('int4', 0, 1, 1), ('int4', 128, 1, 1),
                ('fp8_e4m3', 128, 128, 0), ('fp8_e4m3', 32, 5, 0), ('fp8_e4m3', 0, 1, 0), ('fp8_e5m2', 96, 3, 0), ('fp8_e5m2', 0, 1, 0),
                ('mxfp4', 0, 1, 0), ('mxfp4', 32, 1, 0)],
    'stored': ['same'], 'experts': [8, 1, 2, 3, 7], 'hidden': [64, 1, 33, 40, 160, 264], 'ffn': [32, 17, 65, 160, 300], 'latent': [0, 5, 40],
}
PAIRED = ['type', 'dtype', 'hidden', 'ffn', 'act', 'expert_bias', 'latent', 'place', 'input', 'experts', 'top_k', 'rounding', 'shared_ffn', 'combine']


def k_of(c): return c['experts'] if c['top_k'] == 'all' else c['top_k']
def candidates(c): return c['experts'] + c['identity'] + c['skip']
def learned(c): return c['input'] not in ('given', 'token_ids')
def reads(c): return c['input'] in ('hidden', 'separate')
def dropping(c): return c['rounding'] != 'none'
def rows(c): return c['shared_ffn'] and c['mix'] == 'router_rows'


# Each rule of Checked<C>.
RULES = [
    lambda c: k_of(c) <= candidates(c),
    lambda c: c['score'] == 'identity' or c['post'] == 'none',
    lambda c: candidates(c) % c['groups'] == 0,
    lambda c: c['groups_kept'] <= c['groups'],
    lambda c: c['groups'] == 1 or c['select'] == 'group_top_k',
    lambda c: c['select'] != 'group_top_k' or k_of(c) <= candidates(c) // c['groups'] * c['groups_kept'],
    lambda c: c['select'] != 'group_top_k' or c['group_score'] == 'max' or candidates(c) // c['groups'] >= 2,
    lambda c: c['select'] != 'sparse_mixer' or k_of(c) == 2,
    lambda c: c['select'] != 'sparse_mixer' or c['score'] == 'identity',
    lambda c: c['select'] not in ('sparse_mixer', 'expert_choice') or c['post'] == 'none',
    lambda c: c['select'] not in ('sparse_mixer', 'expert_choice') or not c['select_bias'],
    lambda c: c['select'] not in ('sparse_mixer', 'expert_choice') or c['normalise'] == 'none',
    lambda c: c['select'] != 'expert_choice' or not rows(c),
    lambda c: c['select'] != 'expert_choice' or not (c['identity'] or c['skip']),
    lambda c: c['select'] != 'expert_choice' or c['noise'] != 'random_second',
    lambda c: c['input'] != 'token_ids' or c['select'] == 'table',
    lambda c: c['input'] != 'token_ids' or c['noise'] == 'none',
    lambda c: c['input'] != 'given' or c['select'] != 'table',
    lambda c: c['noise'] not in ('softplus', 'jitter') or reads(c),
    lambda c: c['noise'] != 'random_second' or k_of(c) == 2,
    lambda c: c['place'] == 'output' or not (c['identity'] or c['skip']),
    lambda c: c['place'] == 'output' or c['scale_on'] == 'weights',
    lambda c: not dropping(c) or not (c['identity'] or c['skip']),
    lambda c: not dropping(c) or c['when'] == 'before' or not c['expert_scale'],
    lambda c: not dropping(c) or c['when'] == 'before' or c['normalise'] != 'none',
    lambda c: not c['latent'] or not (c['identity'] or c['skip']),
    lambda c: c['latent'] or c['latent_norm'] == 'none',
    lambda c: not c['shared_ffn'] or c['shared_ffn'] % c['count'] == 0,
    lambda c: not rows(c) or c['score'] == 'sigmoid',
    lambda c: not rows(c) or learned(c),
    # What follows is stricter than Checked<C> in places: combinations whose meaning the documents do not fix.
    lambda c: c['noise'] == 'none' or learned(c),
    lambda c: c['noise'] != 'gumbel' or c['select'] in ('top_k', 'group_top_k'),
    lambda c: c['noise'] != 'gumbel' or not c['select_bias'],
    lambda c: c['noise'] == 'none' or c['select'] != 'sparse_mixer',
    lambda c: not dropping(c) or c['when'] == 'before' or not rows(c),
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


def active(c): return {n for n in NAMES if n not in ACTIVE or ACTIVE[n](c)}


def pairs(c):
    on = sorted(active(c), key=NAMES.index)
    return {((a, c[a]), (b, c[b])) for i, a in enumerate(on) for b in on[i + 1:]}


class Unset(Exception): pass
class Partial(dict):
    """Some axes of a config; a rule that asks for another one is undecided."""
    def __missing__(self, name): raise Unset(name)


# Every rule, and that an axis without a meaning keeps its default.
ALWAYS = RULES + [lambda c, n=n, f=f: f(c) or c[n] == AXES[n][0] for n, f in ACTIVE.items()]
WEIGHT = {rule: 1 for rule in ALWAYS + list(ACTIVE.values())}          # how often a rule ended a search: such ones come first


class Enough(Exception): pass
def search(c, rules, rng, budget):
    """Values for all that the rules ask for, or None when there are none."""
    budget[0] -= 1
    if budget[0] < 0: raise Enough
    undecided, left, weight = [], {}, {}
    for rule in rules:
        try:
            if rule(c): continue
        except Unset as e:
            name = e.args[0]
            undecided.append(rule)
            weight[name] = weight.get(name, 0) + WEIGHT[rule]
            left[name] = [v for v in left.get(name, AXES[name]) if may(rule, c, name, v)]
            if left[name]: continue
        WEIGHT[rule] += 1
        return None
    if not undecided: return c
    name = min(left, key=lambda n: (len(left[n]) / weight[n], n))
    for v in rng.sample(left[name], len(left[name])):
        found = search(Partial(c, **{name: v}), undecided, rng, budget)
        if found: return found
    return None
def may(rule, c, name, v):
    try: return rule(Partial(c, **{name: v}))
    except Unset: return True


def solve(fixed, rng):
    """A config with these values, each of them meaning something, that keeps all rules; None: there is none, for certain."""
    budget = 60
    while True:
        try:
            c = search(Partial(fixed), [ACTIVE[n] for n in fixed if n in ACTIVE] + ALWAYS, rng, [budget])
            return c and {n: c[n] if n in c else rng.choice(AXES[n]) for n in NAMES}
        except Enough: budget *= 2                         # again, with what was learnt about the rules


def possible(rng):
    """All pairs of values that some config has, decided by search, and how many no config can have."""
    seen, never = set(), 0
    for i, a in enumerate(NAMES):
        for b in NAMES[i + 1:]:
            for v in AXES[a]:
                for w in AXES[b]:
                    if ((a, v), (b, w)) in seen: continue
                    c = solve({a: v, b: w}, rng)
                    if c: seen |= pairs(c)
                    else: never += 1
    return seen, never


def row(rng, todo):
    """A config around one missing pair, grown value by value by what it adds to the missing pairs."""
    with_value = {}
    for p, q in todo:
        with_value.setdefault(p, set()).add(q)
        with_value.setdefault(q, set()).add(p)
    p = max(rng.sample(sorted(with_value, key=str), min(len(with_value), 12)), key=lambda l: len(with_value[l]))
    q = rng.choice(sorted(with_value[p], key=str))
    fixed = dict([p, q])
    c = solve(fixed, rng)
    while True:
        have = set(fixed.items())
        gains = sorted(((len(others & have), rng.random(), l) for l, others in with_value.items() if l[0] not in fixed and others & have), reverse=True)
        for _, _, (n, v) in gains:
            if c[n] == v and (n not in ACTIVE or ACTIVE[n](c)): break
            d = solve({**fixed, n: v}, rng)
            if d:
                c = d
                break
        else: return c
        fixed[n] = v


def cover(rng, limit, tries):
    seen, never = possible(rng)
    todo = dict.fromkeys(sorted(seen, key=str))            # in an order of its own: a seed gives one array
    total, out = len(todo), []
    while todo and len(out) < limit:
        c = max((row(rng, todo) for _ in range(tries)), key=lambda c: len(pairs(c) & todo.keys()))
        out.append(c)
        for pair in pairs(c): todo.pop(pair, None)
    return out, total, len(todo), never


def quantised(rng, tries):
    """A config for each way to quantise: of many, the one with most new pairs of what matters to experts."""
    AXES.update(QUANTISED)
    seen, out, used = set(), [], {}

    def new(c):
        values = [('type', c['weights'][0])] + [(n, c[n]) for n in PAIRED[1:] if n in active(c)]
        return {(p, q) for i, p in enumerate(values) for q in values[i + 1:]} - seen

    def fits(c):
        inputs = (c['latent'] or c['hidden'], c['ffn'])
        return inputs[0] * inputs[1] <= 20000 and max(inputs) > max(c['weights'][1], 32)
    for w in AXES['weights']:
        before = used[w[0]] = used.get(w[0], -1) + 1
        fixed = {'weights': w, 'dtype': 'bf16' if before % 2 == 0 else rng.choice(['fp32', 'fp16'])}
        if before == 0: fixed['latent'] = 0                # tokens as they are, huge ones too
        c = max(filter(fits, (solve(fixed, rng) for _ in range(50 * tries))), key=lambda c: len(new(c)))
        seen |= new(c)
        out.append(c)
    return out


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
    weights, quant = enum('DType', 'weights', 'bf16'), ''
    if isinstance(c['weights'], tuple):
        kind, group, rows_of_group, zeros = c['weights']
        weights, quant = f'ct::DType::{kind}', part([('group', group or None), ('group_rows', None if rows_of_group == 1 else rows_of_group), ('zero_points', zeros or None)])
    top = part([('experts', c['experts']), ('top_k', k_of(c)), ('hidden', c['hidden']), ('ffn', c['ffn']), ('dtype', enum('DType', 'dtype', 'bf16')),
                ('weights', weights)])
    if quant: top += f', .quant = {{{quant}}}'
    for name, body in (('router', router), ('capacity', capacity), ('expert', expert), ('shared', shared)):
        if body: top += f',\n    .{name} = {{{body}}}'
    if c['combine'] == 'model': top += ',\n    .combine = ct::Accumulate::model'
    return top


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--rows', type=int, default=200, help='at most')
    p.add_argument('--tries', type=int, default=4, help='candidates for each row')
    p.add_argument('--files', type=int, default=8)
    p.add_argument('--out', default=os.path.dirname(os.path.abspath(__file__)))
    a = p.parse_args()
    found, total, left, never = cover(random.Random(a.seed), a.rows, a.tries)
    figures = f'{len(found)} configs, {"all" if left == 0 else f"{total - left} of"} {total} pairs of values that can stand together ({never} cannot)'
    coded = quantised(random.Random(a.seed), a.tries)
    print(f'{figures}; {len(coded)} quantised configs')
    os.makedirs(a.out, exist_ok=True)
    numbered = list(enumerate(found))
    files = {str(f): (figures, numbered[f::a.files]) for f in range(a.files)}
    files['quantised'] = (f'{len(coded)} configs', list(enumerate(coded, len(found))))
    for f, (what, mine) in files.items():
        with open(os.path.join(a.out, f'configs_{f}.hpp'), 'w') as out:
            out.write(f'// Written by cover.py --seed {a.seed}: {what}.\n#pragma once\n#include <cases.hpp>\n\nnamespace cases {{\n\n')
            for i, c in mine: out.write(f'inline constexpr ct::Config config_{i}{{{text(c)}}};\n')
            out.write(f'\n// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.\ntemplate <class Visit> void visit_{f}(Visit const& visit) {{\n')
            for i, c in mine:
                stored = 'ct::DType::fp32' if c['stored'] == 'fp32' else f'config_{i}.weights'
                out.write(f'  visit.template operator()<{i}, config_{i}, {stored}>();\n')
            out.write('}\n\n}\n')
    with open(os.path.join(a.out, 'configs.hpp'), 'w') as out:
        out.write(f'// Written by cover.py --seed {a.seed}: {figures}; {len(coded)} quantised ones.\n#pragma once\n#include <cases.hpp>\n\nnamespace cases {{\n\ninline constexpr std::size_t configs = {len(found) + len(coded)};\nusing Subjects = std::vector<std::unique_ptr<Subject>>;\n')
        for f in files: out.write(f'void compile_{f}(Subjects& to);\n')
        out.write('inline void compile_all(Subjects& to) {\n')
        for f in files: out.write(f'  compile_{f}(to);\n')
        out.write('}\n\n}\n')


if __name__ == '__main__':
    main()
