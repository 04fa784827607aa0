// Layers of the covering array that learn, with their types forgotten: numbers of a case go in, gradients come out.
#pragma once
#include <coterie/reference/weights.hpp>
#include <deque>
#include <map>
#include <configs.hpp>
#include "../cases.hpp"

namespace cases {

// Gradients as the reference has numbers; empty: the config has no such part.
struct Found {
  ref::Weights w;                                // router_scale too
  ref::Numbers x, router_x, logits, given_weight;
};

// Where gradients go: memory with gaps, in layouts of their own, which all hold `start` before; read back into Numbers.
class Sink {
 public:
  struct Place {
    void* data;
    std::int64_t out_stride, in_stride;
  };
  Sink(std::uint64_t seed, double start, int overwrite) : overwrite(overwrite), random_(seed), start_(start) {}
  Place matrix(ref::Numbers& to, ct::DType type, std::int64_t out, std::int64_t in);               // plain, transposed, or rows further apart
  Place vector(ref::Numbers& to, std::int64_t n);
  bool collect();                                // less `start` where it was added to; false: something else was written to

  int const overwrite;

 private:
  struct Piece {
    ct::DType type;
    Bytes memory;
    std::int64_t size, out, in, out_stride, in_stride;
    ref::Numbers* to;
    double at(std::int64_t i) const { return load(type, memory.data(), i); }
    void put(std::int64_t i, double v) { save(type, memory.data(), i, v); }
  };
  static constexpr double gap = 77;
  Place piece(ref::Numbers& to, ct::DType type, std::int64_t out, std::int64_t in, std::int64_t out_stride, std::int64_t in_stride);
  Random random_;
  double start_;
  std::deque<Piece> pieces_;
};

// One forward and backward pass.
struct Lesson {
  void* y;                                       // [T, feed.y_stride], as dy; dx[T, feed.x_stride]
  void const* dy;
  void* dx;
  float const* dlogits;                          // [T,dlogits_stride] or null
  std::int64_t dlogits_stride;
  int recompute;
  unsigned char poison;                          // of cache and workspace
  Sink& sink;
  Found& found;
  bool intact = true;                            // stayed inside cache and workspace
};

using Learn = void (*)(ct::Host const& on, Tensors const& tensors, Feed const& feed, Lesson& lesson);
// Which configs of the array learn. Of the committed one 14 of fp32 and narrower, with all values of all axes that gradients know, and 2,398 of
// 3,469 pairs (dtype, input, bias, soft cap, score, select, post, normalise, epsilon, scales, place, noise, capacity, act, limits, biases, latent,
// null experts, shared, mix); of another the first 8. place(): -1 for the rest.
inline constexpr int learning[]{8, 21, 28, 29, 34, 44, 48, 52, 53, 60, 75, 94, 98, 117};
constexpr int place(int config) {
  if (configs < 100) return config < 8 ? config : -1;
  for (int i = 0; i < 14; ++i) if (learning[i] == config) return i;
  return -1;
}
std::map<int, Learn> const& learners();
void learn_0(std::map<int, Learn>& to);
void learn_1(std::map<int, Learn>& to);
// A file of random/all adds its own before main() begins.
struct More {
  explicit More(void (*add)(std::map<int, Learn>& to));
};

}
