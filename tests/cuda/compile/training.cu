// A training step of Mixtral's layer, and the way back through routers and through combine where layers have other parts: all of their kernels.
// opcodes sm_90a route_backward_kernel combine_enter_kernel combine_leave_kernel gather_kernel gather_finish_kernel latent_backward_kernel: ACQBULK PREEXIT
// opcodes sm_90a keep_logits_kernel spread_logits_kernel token_sums_kernel add_kernel add_halves_kernel add_pieces_kernel after_drop_kernel jitter_backward_kernel: ACQBULK PREEXIT
#include <coterie/training.cuh>

namespace ct = coterie;
namespace {
template <ct::Config C> void step(ct::PackedView<C, ct::Cuda> packed, ct::Inputs<C> const& in, ct::Rows<ct::element_t<C.dtype> const, C.hidden> dy, ct::Rows<ct::element_t<C.dtype>, C.hidden> y,
                                  std::span<std::byte> cache, ct::Gradients<C, ct::DType::bf16> const& to, std::span<std::byte> workspace) {
  ct::Cuda const on;
  ct::Layer<C, ct::Cuda> const layer{packed};
  layer.forward(on, in, y, cache, workspace);
  layer.backward(on, in, cache, dy, y, to, workspace);
}
template <ct::Config C> void router(ct::PackedView<C, ct::Cuda> packed, ct::Inputs<C> const& in, ct::Routing<C> const& routing, ct::RouterGradients<C> const& d, float* dx, ct::Gradients<C> const& to,
                                    std::span<std::byte> scratch) {
  ct::RouterBackward<C, ct::Cuda>{}(ct::Cuda{}, in, packed, routing, {}, d, dx, dx, to, scratch);
}
template <ct::Config C> void combine(typename ct::CombineBackward<C, ct::Cuda>::Call const& call, ct::Rows<ct::element_t<C.dtype>, C.hidden> dx, ct::Rows<ct::element_t<C.dtype>, ct::width(C)> rows, float* dweight,
                                     ct::Gradients<C> const& to, std::span<std::byte> scratch) {
  ct::CombineBackward<C, ct::Cuda> const back;
  ct::Cuda const on;
  back.enter(on, call, to, scratch), back.leave(on, call, dweight, dweight, dweight, to, scratch);
  back.gather(on, call, ct::Rows<ct::element_t<C.dtype> const, ct::width(C)>{rows.data, rows.rows}, dweight, ct::Rows<ct::element_t<C.dtype> const, C.hidden>{dx.data, dx.rows}, dx, to, scratch);
}
constexpr ct::Config of(int experts, int top_k, ct::RouterConfig router) { return {.experts = experts, .top_k = top_k, .hidden = 256, .ffn = 64, .router = router}; }
constexpr ct::Config with(ct::Config c, ct::ExpertConfig expert, ct::SharedConfig shared) {
  c.expert = expert, c.shared = shared;
  return c;
}
constexpr ct::Config latent = with(of(16, 4, {}), {.latent = 128, .latent_norm = ct::LatentNorm::rms}, {.ffn = 64, .mix = ct::SharedMix::coefficients});
constexpr ct::Config null_experts = with(of(16, 4, {}), {.identity = 2}, {.ffn = 64, .mix = ct::SharedMix::sigmoid_gate});
constexpr ct::Config shared_rows = with(of(16, 4, {.score = ct::Score::sigmoid}), {}, {.ffn = 64, .count = 2, .mix = ct::SharedMix::router_rows});
constexpr ct::Config given = [] {
  ct::Config c = of(8, 2, {.input = ct::RouterInput::given});
  c.capacity = {.rounding = ct::Rounding::mesh, .normalise = ct::When::after};
  return c;
}();
}
auto* use_step = &step<ct::presets::mixtral_8x7b>;
void use_given(ct::PackedView<given, ct::Cuda> packed, ct::Inputs<given> const& in, ct::Rows<ct::bf16 const, 256> dy, ct::Rows<ct::bf16, 256> dx, ct::Gradients<given> const& to, std::span<std::byte> memory) {
  ct::Layer<given, ct::Cuda>{packed}.backward(ct::Cuda{}, in, memory, dy, dx, to, memory);
}
auto* use_latent = &combine<latent>;
auto* use_null_experts = &combine<null_experts>;
auto* use_rows = &router<shared_rows>;
auto* use_deepseek = &router<ct::presets::deepseek_v3>;
auto* use_many = &router<of(1024, 32, {.bias = 1, .score = ct::Score::softmax, .normalise = ct::Normalise::none})>;
auto* use_post = &router<of(128, 8, {.soft_cap = 30, .score = ct::Score::identity, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .noise = ct::Noise::softplus, .noise_size = 0.5f})>;
auto* use_mixer = &router<of(16, 2, {.score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .noise = ct::Noise::gumbel, .noise_size = 0.01f})>;
auto* use_second = &router<of(64, 2, {.noise = ct::Noise::random_second, .noise_size = 0.5f})>;
auto* use_choice = &router<of(64, 2, {.score = ct::Score::sqrt_softplus, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .noise = ct::Noise::jitter, .noise_size = 0.1f})>;
auto* use_table = &router<of(64, 6, {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .expert_scale = 1})>;
