// Products of warpgroups. Each warp computes its own 16 rows; what a warpgroup must do together is checked, not awaited.
#pragma once
#include <deque>
#include <memory>
#include <vector>
#include "engine.hpp"

namespace simt {

// The accumulators of one warp while products work on them.
struct Accumulators {
  float* of_lane[32];
  int width;
  int pending = 0;                               // products that have not been waited for
  std::vector<float> value;                      // [16 x width]
};
struct Product {
  Operand a, b;
  int width;
  bool accumulate, done = false;
  Half type;
  std::shared_ptr<Accumulators> to;
  std::uint32_t time = 0;
};
struct WarpProducts {
  Block* block;
  unsigned warp;
  bool fenced = false;
  std::vector<std::shared_ptr<Product>> open;
  std::deque<std::vector<std::shared_ptr<Product>>> committed;
  std::vector<std::shared_ptr<Accumulators>> busy;
  std::vector<std::uint64_t> log;                // what it issued, to compare with the other warps of the warpgroup
  char const* waits_for_registers = nullptr;
};

}
