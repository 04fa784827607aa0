// The libraries' stages around a layer: by a product per expert, and, where cuBLAS's headers have it, by grouped products.
#if __has_include(<cublasLt.h>)
#include <coterie/library.cuh>
#include "layer.hpp"

constexpr ct::Config biased{.experts = 5, .top_k = 2, .hidden = 40, .ffn = 33, .expert = {.act = ct::Act::gelu, .bias = 1}};
auto* use_library = &use_layer<ct::presets::mixtral_8x7b, ct::LibraryStages<ct::presets::mixtral_8x7b>>;
auto* use_biased = &use_layer<biased, ct::LibraryStages<biased>>;
#endif
