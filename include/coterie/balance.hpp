// Load balancing: losses with gradients, biases without losses, and statistics (docs/balance.md). Included on its own.
#pragma once
#include "balance/bias.hpp"
#include "balance/losses.hpp"
#include "balance/quantile.hpp"
#include "balance/statistics.hpp"
#include "balance/through_router.hpp"
