// What training_configs.cpp compares with.
#include "configs.hpp"
#include "host.hpp"

namespace steps {

template Result on_host<biased>(Data<biased> const&, float, int);
template Result on_host<grouped>(Data<grouped> const&, float, int);
template Result on_host<null_experts>(Data<null_experts> const&, float, int);
template Result on_host<latent>(Data<latent> const&, float, int);
template Result on_host<latent_bf16>(Data<latent_bf16> const&, float, int);
template Result on_host<latent_odd>(Data<latent_odd> const&, float, int);
template Result on_host<router_rows>(Data<router_rows> const&, float, int);
template Result on_host<dropping>(Data<dropping> const&, float, int);
template Result on_host<given>(Data<given> const&, float, int);
template Result on_host<given_logits>(Data<given_logits> const&, float, int);
template Result on_host<choice>(Data<choice> const&, float, int);
template Result on_host<mixer>(Data<mixer> const&, float, int);
template Result on_host<by_id>(Data<by_id> const&, float, int);
template Result on_host<random_second>(Data<random_second> const&, float, int);

}
