// What training.cpp compares with.
#include "host.hpp"

namespace steps {

template Result on_host<mixtral>(Data<mixtral> const&, float, int);
template Result on_host<mixtral_fp16>(Data<mixtral_fp16> const&, float, int);
template Result on_host<whole>(Data<whole> const&, float, int);

}
