// The experts and shared experts backwards, and the forward pass that keeps what they need: sixteen bits and fp32, gradients of either, biases and
// clamps, weighted inputs, sizes that no tile divides.
// opcodes sm_80 mma_backward_kernel mma_gradient_kernel: HMMA LDGSTS LDSM
// opcodes sm_90a mma_backward_kernel mma_gradient_kernel: HMMA LDGSTS LDSM ACQBULK PREEXIT
// opcodes sm_90a wgmma_product_kernel wgmma_gradient_kernel: HGMMA UTMALDG LDGSTS SYNCS WARPGROUP USETMAXREG FENCE ACQBULK PREEXIT
// opcodes sm_90a plain_backward_kernel plain_gradient_kernel gradient_table_kernel row_sums_kernel column_sums_kernel: ACQBULK PREEXIT
#include <coterie/cuda.cuh>
#include <coterie/experts/backward.cuh>
#include <coterie/experts/shared_backward.cuh>

namespace ct = coterie;
using ct::DType;
namespace {
template <ct::Config C> using Out = ct::Rows<ct::element_t<C.dtype>, C.hidden>;
template <ct::Config C, DType D>
void use(ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda> packed, ct::Batch<C> const& batch, ct::element_t<C.dtype>* pre, Out<C> dx, float* weight, ct::Gradients<C, D> const& to, std::span<std::byte> scratch) {
  ct::ExpertsBackward<C, ct::Cuda>{}(ct::Cuda{}, in.x, packed, batch, pre, in.x, dx, weight, to, scratch);
}
template <ct::Config C, DType D>
void use_shared(ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda> packed, ct::Routing<C> const& routing, ct::element_t<C.dtype>* pre, Out<C> dx, float* weight, ct::Gradients<C, D> const& to, std::span<std::byte> scratch) {
  ct::SharedBackward<C, ct::Cuda>{}(ct::Cuda{}, in, packed, routing, pre, in.x, weight, dx, weight, weight, to, scratch);
}
template <ct::Config C> void keep(ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda> packed, ct::Batch<C> const& batch, ct::element_t<C.dtype>* pre, Out<C> out, std::span<std::byte> scratch) {
  ct::Experts<C, ct::Cuda>{}.keeping(ct::Cuda{}, in.x, packed, batch, out, pre, scratch);
}
constexpr ct::Config of(int hidden, int ffn, DType dtype, ct::ExpertConfig expert, ct::Place place) {
  return {.experts = 8, .top_k = 2, .hidden = hidden, .ffn = ffn, .dtype = dtype, .weights = dtype, .router = {.weights = dtype, .score = ct::Score::sigmoid, .place = place}, .expert = expert,
          .shared = {.ffn = 64, .count = 2, .mix = ct::SharedMix::router_rows, .weights = dtype}};
}
constexpr ct::Config mixtral = of(4096, 14336, DType::bf16, {}, ct::Place::output), biased = of(100, 52, DType::bf16, {.act = ct::Act::oai_mul, .bias = 1}, ct::Place::input),
                     gelu = of(256, 100, DType::fp16, {.act = ct::Act::gelu_mul}, ct::Place::input), fp32 = of(256, 128, DType::fp32, {.act = ct::Act::gelu_tanh_mul}, ct::Place::output);
}
auto* use_mixtral = &use<mixtral, DType::bf16>;
auto* use_mixtral_shared = &use_shared<mixtral, DType::fp32>;
auto* keep_mixtral = &keep<mixtral>;
auto* use_biased = &use<biased, DType::fp32>;
auto* use_gelu = &use<gelu, DType::fp32>;
auto* use_gelu_shared = &use_shared<gelu, DType::fp32>;
auto* use_fp32 = &use<fp32, DType::fp32>;
