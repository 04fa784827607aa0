// Training on the GPU: every synchronisation of kernels that Mixtral's layer (training.cpp) has not.
#include "product_syncs.hpp"
#include "training/configs.hpp"
#include "training/step.hpp"

namespace steps {

template <Config C> void check_syncs(std::vector<std::string> const& names) {
  Data<C> const data(13, 5);
  Step<C> const step(data, Arch::best);
  Result const first = step();
  auto const run = [&] { return other_bits(first, step()); };
  CHECK(simt::survives(18, run) == "");
  cuda_tests::check_waits(run, names);
}
TEST_CASE("training: the same bits under every schedule, and every synchronisation is needed, of what not every layer has") {
  check_syncs<latent>({"combine_enter: the kernel ahead", "latent_backward: the kernel ahead", "gather_finish: the kernel ahead", "add: the kernel ahead"});
  check_syncs<given>({"after_drop: the kernel ahead"});
  check_syncs<biased>({"jitter_backward: the kernel ahead"});
}

}
