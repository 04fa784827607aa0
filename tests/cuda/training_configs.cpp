// Training on the GPU, or in the emulator: every part that a gradient goes through, against the host's.
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
// Whatever stands between the caller's rows: NaN.
TEST_CASE("training: rows of the caller's, apart, of a width that no wide load ends at") {
  Data<latent_odd> const data(13, 21);
  Result const want = on_host<latent_odd>(data, 0, 0);
  for (Arch arch : cuda_tests::arches()) {
    Step<latent_odd> const step(data, arch, {}, nullptr, 7);
    Result got;
    CHECK(simt::failure_of([&] { got = step(); }) == "");
    Apart const a = apart(got, want, 1);
    INFO(std::string(ct::name(arch)), ": ", a.where);
    CHECK(a.error < 0.02);
  }
}

}
