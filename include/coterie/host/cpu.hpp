// Which instruction sets this processor has, each feature tested on its own, asked once.
#pragma once
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace coterie { inline namespace v0 {

// A path through the host kernels; a later one includes those before it. best: the fastest that this processor runs.
enum class Isa : int { best, portable, avx2, avx512, avx512_bf16, amx };

constexpr char const* name(Isa isa) {
  switch (isa) {
    case Isa::best: return "best";
    case Isa::portable: return "portable";
    case Isa::avx2: return "AVX2";
    case Isa::avx512: return "AVX-512";
    case Isa::avx512_bf16: return "AVX-512 BF16";
    case Isa::amx: return "AMX";
  }
  return "?";
}

namespace host {

#if defined(__x86_64__)
inline constexpr unsigned amx_bf16 = 1u << 22, amx_int8 = 1u << 25;      // CPUID(7, 0).EDX
// A kind of AMX products, and the kernel's leave to use the tile registers (Linux hands it out per process, on request).
inline bool has_amx(unsigned products) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned amx_tile = 1u << 24;
  if (!(d & products) || !(d & amx_tile)) return false;
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;             // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}
inline bool has_avx512_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}
inline bool has_avx512_vbmi() {                                           // look-ups of bytes: codes to bf16
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 1));
}
inline bool has_f16c() {                                                  // clang 14's __builtin_cpu_supports does not know it
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29));
}
inline bool detect(Isa isa) {
  switch (isa) {
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case Isa::avx512: return detect(Isa::avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case Isa::avx512_bf16: return detect(Isa::avx512) && has_avx512_vbmi() && has_avx512_bf16();
    case Isa::amx: return detect(Isa::avx512) && has_avx512_vbmi() && has_amx(amx_bf16);
    default: return true;
  }
}
#else
inline bool detect(Isa isa) { return isa == Isa::best || isa == Isa::portable; }
#endif

inline bool supports(Isa isa) {
  static bool const has[6]{true, true, detect(Isa::avx2), detect(Isa::avx512), detect(Isa::avx512_bf16), detect(Isa::amx)};
  return has[static_cast<int>(isa)];
}
// vdpbf16ps runs at full rate on AMD's processors (as many a second as fp32 FMA, 8.9 G on a 4.5 GHz Zen 5) and at half rate on Intel's (0.49 a cycle on Sapphire
// Rapids, where fp32 FMA does as much).
inline bool dot_pays() {
#if defined(__x86_64__)
  return supports(Isa::avx512_bf16) && __builtin_cpu_is("amd");
#else
  return false;
#endif
}
inline Isa best() {
  return supports(Isa::amx) ? Isa::amx : dot_pays() ? Isa::avx512_bf16 : supports(Isa::avx512) ? Isa::avx512 : supports(Isa::avx2) ? Isa::avx2 : Isa::portable;
}

// AVX512_VNNI, which processors had years before AVX512_BF16: a feature of its own beside the paths.
inline bool supports_vnni() {
#if defined(__x86_64__)
  static bool const has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return detect(Isa::avx512) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 11));
  }();
  return has;
#else
  return false;
#endif
}

// AMX-INT8, a feature of its own too. What is not worth a tile goes to AVX512_VNNI.
inline bool supports_amx_int8() {
#if defined(__x86_64__)
  static bool const has = supports_vnni() && has_amx(amx_int8);
  return has;
#else
  return false;
#endif
}

// What a kernel takes that knows fp32 vectors only.
constexpr Isa vector_path(Isa path) { return path > Isa::avx512 ? Isa::avx512 : path; }

}
}}
