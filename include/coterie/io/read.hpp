// Tensors of the files as numbers of another type.
#pragma once
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "parts.hpp"

namespace coterie { inline namespace v0 { namespace io {

template <class From, class To> void convert(From const* from, To* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = from_float<To>(to_float(from[i]));
}

// Reads `n` numbers from element `first` on, as T: bit for bit where they are stored so, rounded to nearest where not.
template <class T>
void read_as(ShardedSafetensors const& files, TensorInfo const& t, std::uint64_t first, std::size_t n, T* to, Where at) {
  auto const from = [&]<class From>(From) {
    if constexpr (std::is_same_v<From, T>) {
      files.read(t, first * sizeof(T), std::as_writable_bytes(std::span(to, n)), at);
    } else {
      std::array<From, 8192> part;
      for (std::size_t done = 0; done < n; done += part.size()) {
        std::size_t const some = n - done < part.size() ? n - done : part.size();
        files.read(t, (first + done) * sizeof(From), std::as_writable_bytes(std::span(part).first(some)), at);
        convert(part.data(), to + done, some);
      }
    }
  };
  switch (t.dtype) {
    case Stored::f32: return from(float{});
    case Stored::bf16: return from(bf16{});
    case Stored::f16: return from(fp16{});
    default: refuse_type(files, t, at);
  }
}
template <class T> std::vector<T> read_all_as(ShardedSafetensors const& files, TensorInfo const& t, Where at) {
  std::uint64_t n = 1;
  for (std::int64_t d : t.shape) n *= static_cast<std::uint64_t>(d);           // of a tensor whose bytes are in the file
  std::vector<T> all(static_cast<std::size_t>(n));
  read_as(files, t, 0, all.size(), all.data(), at);
  return all;
}
// A table of expert ids, I32 or I64, each below `experts`.
inline std::vector<std::int32_t> read_table(ShardedSafetensors const& files, TensorInfo const& t, int experts, Where at) {
  if (t.dtype != Stored::i64 && t.dtype != Stored::i32) files.reject(t, " is stored as " + std::string(name(t.dtype)) + ", want I64 or I32", at);
  std::size_t const size = t.dtype == Stored::i64 ? 8 : 4;
  std::vector<std::byte> raw(static_cast<std::size_t>(t.bytes()));
  files.read(t, raw, at);
  std::vector<std::int32_t> ids(raw.size() / size);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::int64_t id = 0;
    std::int32_t narrow = 0;
    if (size == 8) std::memcpy(&id, raw.data() + i * size, size);
    else std::memcpy(&narrow, raw.data() + i * size, size), id = narrow;
    if (id < 0 || id >= experts)
      files.reject(t, ": expert " + std::to_string(i) + ": got " + std::to_string(id) + ", want 0 to " + std::to_string(experts - 1), at);
    ids[i] = static_cast<std::int32_t>(id);
  }
  return ids;
}

}}}
