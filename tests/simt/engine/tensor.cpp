// ldmatrix, stmatrix and mma.sync: element maps of the PTX manual, worked out by the last lane to arrive.
#include <cstring>
#include "half.hpp"
#include "memory.hpp"
#include "shadow.hpp"

namespace simt {
namespace {

struct Rows { char* row; std::uint32_t* r; int count; bool transposed; };
void check_row(void const* row, int count, bool write, char const* what, std::uintptr_t pc) {
  Thread& t = *engine.self;
  if (static_cast<int>(t.lane) >= 8 * count) return;                       // this lane's address is not used
  if (reinterpret_cast<std::uintptr_t>(row) % 16 || !on_device(row) || !in_shared(row))
    stop(format("%s needs rows of 16 aligned bytes of shared memory, at %s by %s", what, site(pc).c_str(), who(t).c_str()));
  if (instrumented) check_access(row, 16, write ? Access::write : Access::copy, pc);
}
std::uint16_t half_at(char const* row, int i) {
  std::uint16_t v;
  std::memcpy(&v, row + 2 * i, 2);
  return v;
}

struct Operands { float* d; std::uint32_t const* a; std::uint32_t b[2]; Half type; };
void multiply(void* const* lanes, unsigned) {
  float a[16][16], b[16][8], d[16][8];
  Half const type = static_cast<Operands*>(lanes[0])->type;
  for (int lane = 0; lane < 32; ++lane) {
    auto const& mine = *static_cast<Operands*>(lanes[lane]);
    int const g = lane / 4, t = 2 * (lane % 4);
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][t + half + 8 * (i / 2)] = value_of(static_cast<std::uint16_t>(mine.a[i] >> 16 * half), type);
      for (int i = 0; i < 2; ++i) b[t + half + 8 * i][g] = value_of(static_cast<std::uint16_t>(mine.b[i] >> 16 * half), type);
    }
    for (int i = 0; i < 4; ++i) d[g + 8 * (i / 2)][t + i % 2] = mine.d[i];
  }
  multiply_add(&d[0][0], &a[0][0], &b[0][0], 16, 8, matrix_unit(engine.config.device.major));
  for (int lane = 0; lane < 32; ++lane) {
    auto const& mine = *static_cast<Operands*>(lanes[lane]);
    int const g = lane / 4, t = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) mine.d[i] = d[g + 8 * (i / 2)][t + i % 2];
  }
}

}

void require_sm(int version, char const* instruction) {
  Device const& d = engine.config.device;
  if (d.major * 10 + d.minor < version)
    stop(format("%s needs sm_%d, the device is sm_%d%d, %s", instruction, version, d.major, d.minor, who(*engine.self).c_str()));
}

void ldmatrix(std::uint32_t* r, int count, void const* row, bool transposed, Where at) {
  Inside const inside;
  check_row(row, count, false, "ldmatrix", SIMT_CALLER);
  Rows mine{static_cast<char*>(const_cast<void*>(row)), r, count, transposed};
  meet(~0u, transposed ? "ldmatrix.trans" : "ldmatrix", &mine, [](void* const* lanes, unsigned) {
    for (int lane = 0; lane < 32; ++lane) {
      auto const& me = *static_cast<Rows*>(lanes[lane]);
      for (int m = 0; m < me.count; ++m) {
        auto const element = [&](int i, int j) { return std::uint32_t{half_at(static_cast<Rows*>(lanes[8 * m + i])->row, j)}; };
        int const i = lane / 4, j = 2 * (lane % 4);
        me.r[m] = me.transposed ? element(j, i) | element(j + 1, i) << 16 : element(i, j) | element(i, j + 1) << 16;
      }
    }
  }, false, false, at);
}
void stmatrix(void* row, std::uint32_t const* r, int count, Where at) {
  Inside const inside;
  require_sm(90, "stmatrix");
  check_row(row, count, true, "stmatrix", SIMT_CALLER);
  Rows mine{static_cast<char*>(row), const_cast<std::uint32_t*>(r), count, false};
  meet(~0u, "stmatrix", &mine, [](void* const* lanes, unsigned) {
    for (int lane = 0; lane < 32; ++lane) {
      auto const& me = *static_cast<Rows*>(lanes[lane]);
      for (int m = 0; m < me.count; ++m) std::memcpy(static_cast<Rows*>(lanes[8 * m + lane / 4])->row + 4 * (lane % 4), &me.r[m], 4);
    }
  }, false, false, at);
}
void mma(float* d, std::uint32_t const* a, std::uint32_t b0, std::uint32_t b1, Half type, Where at) {
  Inside const inside;
  Operands mine{d, a, {b0, b1}, type};
  meet(~0u, "mma.sync", &mine, &multiply, false, false, at);
}

}
