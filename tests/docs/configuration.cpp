// The code of docs/configuration.md.
#include <coterie/coterie.hpp>
namespace ct = coterie;

constexpr ct::Config mixtral = ct::presets::mixtral_8x7b;                             // a published layer
constexpr ct::Config mini{.experts = 8, .top_k = 2, .hidden = 256, .ffn = 512};       // your own; the rest as Mixtral
constexpr ct::Config narrow = [] { auto c = ct::presets::deepseek_v3; c.hidden = 512; return c; }();   // a changed one
static_assert(mixtral.experts == 8 && mini.dtype == ct::DType::bf16 && narrow.hidden == 512);

constexpr ct::Footprint f = ct::footprint(ct::models::mixtral_8x7b);
static_assert(f.total_parameters == 46'702'792'704 && f.active_parameters == 12'879'925'248);
constexpr double gigabytes = f.weight_bytes(ct::DType::int4, {.group = 128}) / 1e9;   // scales included
constexpr double seconds = ct::roofline(f, ct::machines::h200, 64);                   // 64 concurrent tokens
constexpr double energy = ct::joules(f, ct::machines::h200, 64);
constexpr double sent = f.all_to_all_bytes(64, 8);                                    // experts on 8 ranks
static_assert(gigabytes > 20 && gigabytes < 30 && seconds > 0 && energy > 0 && sent > 0);
