// Training on the GPU, or in the emulator: every part that a gradient goes through, against the host's.
#include "product_syncs.hpp"
#include "training/configs.hpp"
#include "training/step.hpp"

namespace steps {

// 1e-5: of sums of up to 40 numbers, some products one behind the other, in another order than the host's.
TEST_CASE("training: every part of a router") {
  agree<biased>("biases, a cap, softmax of the chosen, jitter", 1e-5);
  agree<grouped>("groups, shared experts", 1e-5);
  agree<null_experts>("null experts, gated shared experts, Shazeer's noise", 1e-5);
  agree<router_rows>("shared experts by router rows, weighted inputs", 1e-5);
  agree<given_logits>("given logits, sigmoid of the chosen", 1e-5);
  agree<choice>("expert choice, sqrt softplus", 1e-5);
  agree<mixer>("sparse mixer, drawn", 1e-5);
  agree<by_id>("a table by token id", 1e-5);
  agree<random_second>("a second choice at random", 1e-5);
}
TEST_CASE("training: every part of the way out and in") {
  agree<latent>("latent experts, norm, coefficients, a router of another input", 1e-5, 1);    // the norm leaves next to nothing of the factor's
  agree<latent_bf16>("the same in bf16", 0.02, 1);                         // ten roundings in a row, two of them the host's in fp32
  agree<dropping>("capacity, averaged shared experts", 1e-5);
  agree<given>("a given routing, capacity, shared experts", 1e-5);
}
namespace {
template <Config C> void check_syncs(std::vector<std::string> const& names) {
  Data<C> const data(13, 5);
  Step<C> const step(data, Arch::best);
  Result const first = step();
  auto const run = [&] { return other_bits(first, step()); };
  CHECK(simt::survives(18, run) == "");
  cuda_tests::check_waits(run, names);
}
}
TEST_CASE("training: the same bits under every schedule, and every synchronisation is needed, of what not every layer has") {
  check_syncs<latent>({"combine_enter: the kernel ahead", "latent_backward: the kernel ahead", "gather_finish: the kernel ahead", "add: the kernel ahead"});
  check_syncs<given>({"after_drop: the kernel ahead"});
  check_syncs<biased>({"jitter_backward: the kernel ahead"});
}

}
