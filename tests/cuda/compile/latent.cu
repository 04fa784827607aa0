// Latent widths, in and out, and the mixtures of shared experts: the stages alone. And packing's way back.
#include <coterie/cuda.cuh>

namespace ct = coterie;
namespace {
template <ct::Config C> void use(ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda> packed, ct::Routing<C> const& routing, ct::Batch<C> const& batch, ct::Rows<ct::element_t<C.dtype>, ct::width(C)> out,
                                 ct::Rows<ct::element_t<C.dtype>, C.hidden> shared, ct::Rows<ct::element_t<C.dtype>, C.hidden> y, std::span<std::byte> scratch) {
  using V = ct::element_t<C.dtype>;
  ct::Cuda const on;
  ct::Latent<C, ct::Cuda>{}(on, in.x, packed, out, scratch);
  ct::Combine<C, ct::Cuda>{}(on, in, packed, routing, batch, ct::Rows<V const, ct::width(C)>{out.data, out.rows, out.stride}, ct::Rows<V const, C.hidden>{shared.data, shared.rows, shared.stride}, y, scratch);
}
constexpr ct::Config of(int latent, ct::LatentNorm norm, ct::SharedMix mix, int count, ct::Accumulate how = ct::Accumulate::fp32) {
  return {.experts = 16, .top_k = 4, .hidden = 256, .ffn = 64, .expert = {.latent = latent, .latent_norm = norm}, .shared = {.ffn = 64, .count = count, .mix = mix}, .combine = how};
}
}
auto* use_latent = &use<of(128, ct::LatentNorm::rms, ct::SharedMix::coefficients, 1)>;
auto* use_coefficients = &use<of(0, ct::LatentNorm::none, ct::SharedMix::coefficients, 1)>;
auto* use_sigmoid_gate = &use<of(0, ct::LatentNorm::none, ct::SharedMix::sigmoid_gate, 1)>;
auto* use_average = &use<of(0, ct::LatentNorm::none, ct::SharedMix::average, 1)>;
auto* use_router_rows = &use<of(0, ct::LatentNorm::none, ct::SharedMix::router_rows, 2)>;
auto* use_model_sums = &use<of(0, ct::LatentNorm::none, ct::SharedMix::sum, 1, ct::Accumulate::model)>;
template void ct::unpack_expert<ct::presets::mixtral_8x7b>(ct::Cuda const&, ct::PackedView<ct::presets::mixtral_8x7b, ct::Cuda>, int, ct::Matrix<ct::DType::bf16, 14336, 4096, true>,
                                                          ct::Matrix<ct::DType::bf16, 14336, 4096, true>, ct::Matrix<ct::DType::bf16, 4096, 14336, true>, ct::Where);
