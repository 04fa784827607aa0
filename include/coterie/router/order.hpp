// The order of scores, the same on host and device: by value, ties to the lower index, NaN last; and the k best by it.
#pragma once
#include "math.hpp"

namespace coterie { inline namespace v0 { namespace route {

// Orders scores by their bits: larger value, larger key; -0 equals +0; NaN ranks below -infinity.
COTERIE_HD inline std::uint32_t order_key(float score) {
  std::uint32_t const b = math::bits_of(score);
  if ((b & 0x7fffffffu) > 0x7f800000u) return 0;
  if (b == 0x80000000u) return 0x80000000u;
  return b >> 31 ? ~b : b | 0x80000000u;
}
// The same with ties to the lower index.
COTERIE_HD inline std::uint64_t order_key(float score, int index) {
  return std::uint64_t{order_key(score)} << 32 | (0xffffffffu - static_cast<std::uint32_t>(index));
}
COTERIE_HD inline int index_of(std::uint64_t key) { return static_cast<int>(0xffffffffu - static_cast<std::uint32_t>(key)); }

// The k best of score(0..n): their keys, best first, in heap[k].
#if defined(__CUDACC__)
#pragma nv_exec_check_disable                    // a score of the host's is not called elsewhere
#endif
template <class Score> COTERIE_HD inline void best(Score const& score, int n, int k, std::uint64_t* heap) {
  auto const sift = [heap](int at, int size) {                           // heap[0] is the worst of those kept
    for (int child; (child = 2 * at + 1) < size; at = child) {
      if (child + 1 < size && heap[child + 1] < heap[child]) ++child;
      if (heap[at] <= heap[child]) return;
      std::uint64_t const moved = heap[at];
      heap[at] = heap[child];
      heap[child] = moved;
    }
  };
  for (int e = 0; e < k; ++e) heap[e] = order_key(score(e), e);
  for (int at = k / 2 - 1; at >= 0; --at) sift(at, k);
  for (int e = k; e < n; ++e) {
    std::uint64_t const key = order_key(score(e), e);
    if (key > heap[0]) {
      heap[0] = key;
      sift(0, k);
    }
  }
  for (int size = k - 1; size > 0; --size) {                             // the worst goes last
    std::uint64_t const worst = heap[0];
    heap[0] = heap[size];
    heap[size] = worst;
    sift(0, size);
  }
}
COTERIE_HD inline void top_k(float const* scores, int n, int k, std::uint64_t* heap, std::int32_t* index) {
  best([scores](int e) { return scores[e]; }, n, k, heap);
  for (int i = 0; i < k; ++i) index[i] = index_of(heap[i]);
}

}}}
