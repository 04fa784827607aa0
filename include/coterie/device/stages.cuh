// Stages of rows in shared memory, filled by cp.async ahead of the products that read them by ldmatrix.
#pragma once
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Where 16-byte chunk c of row r stands, of rows of four chunks: neither copies nor ldmatrix meet a bank twice.
COTERIE_HD constexpr int swizzled(int r, int c) { return r * 4 + (c ^ (r / 2 % 4)); }

// What this thread copies of each stage's `Rows` rows of T::depth inputs: chunks number t + i * threads, each of them chunk t % T::chunks of its row.
template <class T, class V, int Rows> struct RowCopies {
  static constexpr int copies = Rows * T::chunks / T::threads;
  V const* from[copies];
  bool has[copies];

  // Rows [first, end), or as many of them as there are; of `data` those that map names, or (null) the same.
  COTERIE_DEVICE RowCopies(V const* data, std::int64_t stride, std::int32_t const* map, std::int64_t first, std::int64_t end) {
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      std::int64_t const r = first + row(i);
      has[i] = r < end;
      from[i] = data + (has[i] ? map ? map[r] : r : 0) * stride;
    }
  }
  // Inputs from k on of `inputs`, in whole chunks; zeros for those that there are not.
  COTERIE_DEVICE void load(uint4* stage, std::int64_t k, std::int64_t inputs) const {
    std::int64_t const at = k + chunk() * 8;
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      bool const valid = has[i] && at < inputs;
      ptx::cp_async16(&stage[swizzled(row(i), chunk())], valid ? from[i] + at : from[i], valid);
    }
  }

 private:
  COTERIE_DEVICE static int chunk() { return static_cast<int>(threadIdx.x) % T::chunks; }
  COTERIE_DEVICE static int row(int i) { return (static_cast<int>(threadIdx.x) + i * T::threads) / T::chunks; }
};

// Runs load(stage, step), which copies, T::stages - 1 steps ahead of multiply(stage), which reads. A block calls.
template <class T, class Load, class Multiply> COTERIE_DEVICE void through_stages(int steps, Load&& load, Multiply&& multiply) {
#pragma unroll
  for (int i = 0; i < T::stages - 1; ++i) {
    if (i < steps) load(i, i);
    ptx::cp_async_commit();
  }
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    COTERIE_SYNC(T::has_landed, ptx::cp_async_wait<T::stages - 2>());
    COTERIE_SYNC(T::is_everybodys, __syncthreads());
    int const ahead = step + T::stages - 1;
    if (ahead < steps) load(ahead % T::stages, ahead);
    ptx::cp_async_commit();
    multiply(step % T::stages);
  }
  // Every copy has landed: the groups that are still under way are empty.
}

}}}}
