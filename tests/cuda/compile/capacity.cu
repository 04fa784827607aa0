// Capacity by the first choice's weight, weights normalised over what was kept; biases and clamps; sizes that no tile divides, and a width of which no 16-byte copy
// finds its way through the rows.
// opcodes sm_90a rank_kernel mark_kernel renormalise_kernel stage_rows_kernel: ACQBULK PREEXIT
#include "layer.hpp"

constexpr ct::Config odd{.experts = 7, .top_k = 3, .hidden = 100, .ffn = 52, .router = {.bias = 1, .soft_cap = 30, .place = ct::Place::input},
                         .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .order = ct::Order::probability, .normalise = ct::When::after},
                         .expert = {.act = ct::Act::oai_mul, .bias = 1}};
auto* use_capacity = &use_layer<odd>;
