// What load() holds at most: every allocation of the program is counted while real files are read.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COTERIE_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COTERIE_SANITIZED
#endif
#if defined(__linux__) && !defined(COTERIE_SANITIZED)      // a sanitizer has an allocator of its own
#include <atomic>
#include <cerrno>
#include <cstdio>

#include <malloc.h>

#include <doctest/doctest.h>

#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>

#include "quantised.hpp"

// In front of glibc's allocator, since another test of the program stands in front of operator new.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}
namespace {
std::atomic<bool> counting{false};
std::atomic<std::int64_t> live{0}, peak{0};
void* took(void* p) {
  if (p && counting.load(std::memory_order_relaxed)) {
    std::int64_t const now = live += static_cast<std::int64_t>(malloc_usable_size(p));
    for (std::int64_t most = peak; most < now && !peak.compare_exchange_weak(most, now);) {}
  }
  return p;
}
void gives(void* p) {
  if (p && counting.load(std::memory_order_relaxed)) live -= static_cast<std::int64_t>(malloc_usable_size(p));
}
}
extern "C" {
void* malloc(std::size_t n) { return took(__libc_malloc(n)); }
void* calloc(std::size_t n, std::size_t size) { return took(__libc_calloc(n, size)); }
void* realloc(void* p, std::size_t n) {
  gives(p);
  return took(__libc_realloc(p, n));
}
void* memalign(std::size_t alignment, std::size_t n) { return took(__libc_memalign(alignment, n)); }
void* aligned_alloc(std::size_t alignment, std::size_t n) { return took(__libc_memalign(alignment, n)); }
int posix_memalign(void** to, std::size_t alignment, std::size_t n) {
  *to = took(__libc_memalign(alignment, n));
  return *to ? 0 : ENOMEM;
}
void free(void* p) {
  gives(p);
  __libc_free(p);
}
}

namespace {

using namespace copies;

// A golden with wider tensors, all zero: each dimension that is named is replaced, in the files and in config.json.
void widen(Copy& copy, std::vector<std::pair<std::int64_t, std::int64_t>> const& dimensions, Stored type = Stored::bf16) {
  auto const wider = [&](std::int64_t d) {
    for (auto const& [from, to] : dimensions) if (d == from) return to;
    return d;
  };
  copy.store([&](TensorInfo& t, std::string& bytes) {
    if (t.dtype == Stored::bf16) t.dtype = type;
    for (std::int64_t& d : t.shape) d = wider(d);
    bytes.assign(*io::tensor_bytes(t.dtype, t.shape), '\0');
  });
  copy.document([&](nlohmann::json& whole) {
    auto const visit = [&](auto const& self, nlohmann::json& value) -> void {
      if (value.is_number_integer()) value = wider(value.get<std::int64_t>());
      else if (value.is_object()) for (auto& inner : value) self(self, inner);
    };
    visit(visit, whole);
  });
}

// Peak of what is allocated during load(), over the packed layer. `more`: of an expert as stored, besides it.
template <Config C> void measure(char const* layout, Copy const& copy, double more = 0) {
  Checkpoint const checkpoint{copy.path()};
  Host const on{.threads = 1};
  std::uint64_t expert = 0, rest = 0;    // bytes of an expert as stored, and of all that is not one's matrix
  for (TensorPlace const& p : checkpoint.tensors(0)) {
    bool const matrix = p.part == Part::gate || p.part == Part::up || p.part == Part::gate_up || p.part == Part::down;
    bool const bias = p.part == Part::gate_bias || p.part == Part::up_bias || p.part == Part::gate_up_bias || p.part == Part::down_bias;
    if (!matrix) rest += p.tensor->bytes() * (bias ? 4 : 1);                   // biases: bf16 read as fp32, then arranged
    else if (p.expert <= 0) expert += p.bytes() / static_cast<std::uint64_t>(p.expert == 0 ? 1 : C.experts);
  }
  expert += static_cast<std::uint64_t>(static_cast<double>(expert) * more);
  live = peak = 0, counting = true;
  auto const packed = load<C>(on, checkpoint, 0);
  counting = false;
  auto const held = static_cast<std::int64_t>(Packer<C, Host>::bytes());
  std::int64_t const over = peak - held, metadata = 16'384, most = static_cast<std::int64_t>(std::max(expert, rest)) + metadata;
  std::printf("load, %-24s packed %8lld bytes, at most %7lld more; an expert as stored %7llu, the rest %7llu\n", layout, static_cast<long long>(held), static_cast<long long>(over),
              static_cast<unsigned long long>(expert), static_cast<unsigned long long>(rest));
  CHECK(packed.view().data);
  CHECK(over > 0);
  CHECK(over <= most);
  CHECK(live < held + metadata);                           // the layer is what is left
}

constexpr Config coded(Config c, quantised::As as) {
  c.weights = quantised::type_of(as), c.quant = quantised::quant_of(as);
  return c;
}
template <quantised::As F> void measure_coded(char const* layout, double more) {
  Copy copy("mixtral");
  std::map<std::string, quantised::Truth> all;
  quantised::quantise(copy, F, all, quantised::of_experts);
  measure<coded({.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256}, F)>(layout, copy, more);
}
constexpr Config separate{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};
constexpr Config wide{.experts = 8, .top_k = 3, .hidden = 128, .ffn = 256};    // below 2 MiB, from where on memory is aligned to as much
constexpr Config with(RouterConfig r, Config c = wide) {
  c.router = r;
  return c;
}
constexpr Config gpt_oss = [] {
  Config c = with(presets::gpt_oss_20b.router);
  c.expert = presets::gpt_oss_20b.expert;
  return c;
}();
constexpr Config nllb = [] {
  Config c = presets::nllb_moe_54b;
  c.experts = 4, c.hidden = 128, c.ffn = 256, c.capacity.factor = 0.35f;
  return c;
}();
constexpr Config aria = [] {
  Config c = with(presets::aria.router);
  c.ffn = 192, c.shared = {.ffn = 384, .count = 2};
  return c;
}();

}

TEST_CASE("load holds the packed layer and at most about one expert as stored, whatever the layout") {
  measure<separate>("separate", Copy("mixtral"));
  Copy in_fp32("mixtral"), halves("granitemoe"), interleaved("gpt_oss"), biased("nllb_moe"), flat("dbrx"), in_out("aria");
  widen(in_fp32, {}, Stored::f32);
  measure<with({.weights = DType::fp32}, separate)>("separate, in fp32", in_fp32);
  widen(halves, {{48, 128}, {28, 256}, {56, 512}});
  measure<with(presets::granite_3_0_1b_a400m.router)>("fused", halves);
  widen(interleaved, {{72, 128}, {20, 256}, {40, 512}});
  measure<gpt_oss>("fused, with biases", interleaved);
  widen(biased, {{40, 128}, {36, 256}});
  measure<nllb>("separate, with biases", biased);
  widen(flat, {{40, 128}, {28, 256}, {224, 8 * 256}});
  measure<with(presets::dbrx.router)>("flat", flat);
  widen(in_out, {{48, 128}, {22, 192}, {44, 384}});
  measure<aria>("fused in to out, shared", in_out);
}
TEST_CASE("load of quantised experts holds their scales in fp32 besides, GPTQ's one matrix twice, and numbers only for a layer of numbers") {
  using quantised::As;
  measure_coded<As::fp8_blocks>("fp8", 0.01);
  measure_coded<As::mxfp4>("mxfp4", 0.3);                    // a byte becomes four, for 32 codes in 16 bytes
  measure_coded<As::packed>("packed integers", 0.2);
  measure_coded<As::awq>("awq", 0.2);
  measure_coded<As::gptq>("gptq", 0.5);
  Copy numbers("mixtral");
  std::map<std::string, quantised::Truth> all;
  quantised::quantise(numbers, As::fp8_blocks, all, quantised::of_experts);
  measure<separate>("fp8 into bf16", numbers, 4.01);
}
#endif
