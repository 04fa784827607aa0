// Routers that no layer beside this has, alone: noises, many experts by a warp and by a thread, groups, tables, the sparse mixer, the caller's
// own decisions; and who comes first under capacity by chance.
// opcodes sm_90a route_warp_kernel route_thread_kernel given_kernel jitter_kernel logits_kernel: ACQBULK PREEXIT
#include <coterie/cuda.cuh>

namespace ct = coterie;
namespace {
template <ct::Config C> void use(ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda> packed, ct::Routing<C> const& routing, std::span<std::byte> scratch) {
  ct::Router<C, ct::Cuda>{}(ct::Cuda{}, in, packed, routing, scratch);
}
// Over the caller's logits there is no product to compile.
constexpr ct::Config over(int experts, int top_k, ct::RouterConfig r, ct::RouterInput input = ct::RouterInput::logits) {
  r.input = input;
  return {.experts = experts, .top_k = top_k, .hidden = 8, .ffn = 8, .router = r};
}
constexpr ct::Config noisy{.experts = 16, .top_k = 4, .hidden = 40, .ffn = 8, .router = {.noise = ct::Noise::softplus, .noise_size = 0.01f}};
constexpr ct::Config jittered{.experts = 16, .top_k = 4, .hidden = 40, .ffn = 8, .router = {.noise = ct::Noise::jitter, .noise_size = 0.1f}};
constexpr ct::RouterConfig groups{.score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 8, .groups_kept = 4, .epsilon = 1e-20f, .scale = 2.5f};
constexpr ct::RouterConfig best_of_groups{.select = ct::Select::group_top_k, .groups = 8, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero};
constexpr ct::RouterConfig gumbel{.noise = ct::Noise::gumbel, .noise_size = 1}, second{.noise = ct::Noise::random_second, .noise_size = 0.5f};
constexpr ct::RouterConfig table{.score = ct::Score::sqrt_softplus, .select = ct::Select::table, .epsilon = 1e-20f, .scale = 1.5f};
constexpr ct::RouterConfig mixer{.precision = ct::Precision::model, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .noise_size = 0.01f};
constexpr ct::Config by_chance{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 8, .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .order = ct::Order::random}};
}
auto* use_softplus = &use<noisy>;
auto* use_jitter = &use<jittered>;
auto* use_gumbel = &use<over(60, 4, gumbel)>;
auto* use_second = &use<over(16, 2, second)>;
auto* use_512 = &use<over(512, 10, {})>;
auto* use_1024 = &use<over(1024, 8, {.score = ct::Score::sigmoid, .select_bias = 1})>;
auto* use_by_thread = &use<over(1280, 8, {})>;
auto* use_groups_by_thread = &use<over(1280, 8, groups)>;
auto* use_groups = &use<over(256, 8, groups)>;
auto* use_best_of_groups = &use<over(160, 6, best_of_groups)>;
auto* use_table = &use<over(8, 2, table)>;
auto* use_ids = &use<over(8, 2, {.select = ct::Select::table, .expert_scale = 1}, ct::RouterInput::token_ids)>;
auto* use_mixer = &use<over(16, 2, mixer)>;
auto* use_given = &use<over(8, 2, {}, ct::RouterInput::given)>;

void use_chance(ct::Inputs<by_chance> const& in, ct::Routing<by_chance> const& routing, ct::Batch<by_chance> const& batch, std::span<std::byte> scratch) {
  ct::Dispatch<by_chance, ct::Cuda>{}(ct::Cuda{}, in, routing, batch, scratch);
}
