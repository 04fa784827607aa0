// Quantised matrices of the files read one at a time: codes, scales and zero points as packing takes them, or as numbers.
#pragma once
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "quantisation.hpp"
#include "read.hpp"

namespace coterie { inline namespace v0 { namespace io {

// Bytes as little-endian words, which files of packed integers are.
inline std::uint32_t word_at(std::byte const* from, std::int64_t i) {
  std::uint32_t w = 0;
  for (int b = 0; b < 4; ++b) w |= std::to_integer<std::uint32_t>(from[i * 4 + b]) << (8 * b);
  return w;
}
inline void put_word(std::byte* to, std::int64_t i, std::uint32_t w) {
  for (int b = 0; b < 4; ++b) to[i * 4 + b] = static_cast<std::byte>(w >> (8 * b));
}
// AWQ has outputs 0 2 4 6 1 3 5 7 of eight from the lowest four bits up; here in their order.
constexpr std::uint32_t in_order(std::uint32_t awq) {
  std::uint32_t w = 0;
  for (int i = 0; i < 8; ++i) w |= (awq >> (4 * i) & 15u) << (4 * (i < 4 ? 2 * i : 2 * i - 7));
  return w;
}
static_assert(in_order(0x75316420) == 0x76543210);

// What reading needs for a moment, of one matrix at a time.
struct CodedScratch {
  std::vector<std::byte> bytes;
  std::vector<float> floats;
};

// One expert's matrix, or a shared one; what it held is overwritten by the next read().
class CodedMatrix {
 public:
  // expert: of a tensor that holds several. interleaved: rows of two matrices in turn, whose scales come apart: even rows first.
  void read(ShardedSafetensors const& files, TensorPlace const& p, std::int64_t expert, std::int64_t experts, MatrixShape m, bool interleaved, CodedScratch& scratch, Where at) {
    Coding const& c = p.coding;
    shape_ = m, coding_ = c;
    groups_ = ceil_div(m.inputs, group_inputs(c.type, c.quant, m.inputs));
    out_stride_ = m.inputs, in_stride_ = 1;
    auto const slice = [&](TensorInfo const& t, std::vector<std::byte>& to) {
      std::uint64_t const bytes = t.bytes() / static_cast<std::uint64_t>(experts);
      to.resize(static_cast<std::size_t>(bytes));
      files.read(t, static_cast<std::uint64_t>(expert) * bytes, to, at);
    };
    if (p.checked) check(files, p, scratch.bytes, at);
    read_zeros(files, p, scratch.bytes, at);
    slice(*p.tensor, c.format == Format::gptq ? scratch.bytes : codes_);
    arrange(scratch.bytes);
    read_scales(files, p, expert, experts, interleaved, scratch.floats, at);
  }

  Codes codes() const {
    return {.data = reinterpret_cast<std::uint8_t const*>(codes_.data()), .out_stride = out_stride_, .in_stride = in_stride_, .outputs = static_cast<int>(shape_.outputs),
            .inputs = static_cast<int>(shape_.inputs), .bits = bits(coding_.type), .scale = scale_.data(), .zero = coding_.quant.zero_points ? zero_.data() : nullptr,
            .group = group_inputs(coding_.type, coding_.quant, shape_.inputs), .group_rows = coding_.quant.group_rows};
  }
  // Half of a matrix of two: of its interleaved rows.
  Codes codes(int half) const {
    Codes of = codes();
    of.outputs /= 2;
    of.data += half * out_stride_ * of.bits / 8, of.out_stride *= 2;
    of.scale += half * of.outputs * groups_;
    return of;
  }

 private:
  // Codes in the order of the file to what codes() says.
  void arrange(std::vector<std::byte> const& scratch) {
    std::int64_t const per_word = 32 / bits(coding_.type), words = static_cast<std::int64_t>((coding_.format == Format::gptq ? scratch : codes_).size() / 4);
    if (coding_.format == Format::gptq) {                                      // words of an output's consecutive inputs, transposed
      codes_.resize(scratch.size());
      std::int64_t const row = shape_.inputs / per_word;
      for (std::int64_t o = 0; o < shape_.outputs; ++o)
        for (std::int64_t i = 0; i < row; ++i) std::memcpy(codes_.data() + (o * row + i) * 4, scratch.data() + (i * shape_.outputs + o) * 4, 4);
    } else if (coding_.format == Format::awq) {
      for (std::int64_t i = 0; i < words; ++i) put_word(codes_.data(), i, in_order(word_at(codes_.data(), i)));
      out_stride_ = 1, in_stride_ = shape_.outputs;
    } else if (coding_.format == Format::packed && coding_.type != DType::mxfp4) {
      out_stride_ = ceil_div(shape_.inputs, per_word) * per_word;
    }
    bool const offset = coding_.format == Format::gptq || (coding_.format == Format::packed && coding_.type != DType::mxfp4);
    if (offset && !coding_.quant.zero_points)                                  // code - 8, or - 128: two's complement by its highest bit
      for (std::byte& b : codes_) b ^= static_cast<std::byte>(coding_.type == DType::int4 ? 0x88 : 0x80);
  }

  void read_scales(ShardedSafetensors const& files, TensorPlace const& p, std::int64_t expert, std::int64_t experts, bool interleaved, std::vector<float>& other, Where at) {
    TensorInfo const& t = *p.scale;
    std::int64_t const rows = ceil_div(shape_.outputs, coding_.quant.group_rows), n = rows * groups_;
    std::int64_t const stored = static_cast<std::int64_t>(t.bytes() * 8 / static_cast<std::uint64_t>(bits(t.dtype))) / experts;
    bool const in_turn = coding_.format == Format::gptq || coding_.format == Format::awq || interleaved;
    std::vector<float>& to = in_turn ? other : scale_;
    scale_.resize(static_cast<std::size_t>(n)), to.resize(static_cast<std::size_t>(n));
    if (t.dtype == Stored::u8 || t.dtype == Stored::f8_e8m0) {
      std::vector<std::byte> powers(static_cast<std::size_t>(stored));
      files.read(t, static_cast<std::uint64_t>(expert * stored), powers, at);
      for (std::size_t i = 0; i < powers.size(); ++i) to[i] = to_float(e8m0{std::to_integer<std::uint8_t>(powers[i])});
    } else {
      read_as(files, t, static_cast<std::uint64_t>(expert * stored), static_cast<std::size_t>(stored), to.data(), at);
    }
    if (stored == 1)                                                           // one for the whole matrix
      for (float& s : to) s = to[0];
    if (!in_turn) return;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t g = 0; g < groups_; ++g) {
        std::int64_t const to_row = interleaved ? r % 2 * (rows / 2) + r / 2 : r, from = interleaved ? r * groups_ + g : g * rows + r;
        scale_[static_cast<std::size_t>(to_row * groups_ + g)] = other[static_cast<std::size_t>(from)];
      }
  }

  // Zero points [outputs][groups], from words along the outputs: of each group (GPTQ, AWQ), or of each eight outputs.
  void read_zeros(ShardedSafetensors const& files, TensorPlace const& p, std::vector<std::byte>& scratch, Where at) {
    if (!p.zero) return;
    std::int64_t const width = bits(coding_.type), per_word = 32 / width, words = ceil_div(shape_.outputs, per_word);
    unsigned const middle = 1u << (width - 1), mask = 2 * middle - 1;
    scratch.resize(static_cast<std::size_t>(p.zero->bytes()));
    files.read(*p.zero, scratch, at);
    zero_.resize(static_cast<std::size_t>(shape_.outputs * groups_));
    for (std::int64_t w = 0; w < words; ++w)
      for (std::int64_t g = 0; g < groups_; ++g) {
        std::uint32_t word = word_at(scratch.data(), coding_.format == Format::packed ? w * groups_ + g : g * words + w);
        if (coding_.format == Format::awq) word = in_order(word);
        if (coding_.zeros_less_one) word += width == 4 ? 0x11111111u : 0x01010101u;   // carries as GPTQModel's own: 0 had borrowed
        for (std::int64_t k = 0, o = w * per_word; k < per_word && o < shape_.outputs; ++k, ++o) {
          unsigned const z = word >> (k * width) & mask;
          if (!coding_.quant.zero_points && z != middle)
            files.reject(*p.zero, ": zero point of output " + std::to_string(o) + ": got " + std::to_string(z) + ", want " + std::to_string(middle) + ", as config.json's sym says", at);
          zero_[static_cast<std::size_t>(o * groups_ + g)] = static_cast<std::uint8_t>(z);
        }
      }
  }

  // GPTQ's g_idx: groups in order; compressed-tensors' weight_shape: the shape.
  void check(ShardedSafetensors const& files, TensorPlace const& p, std::vector<std::byte>& scratch, Where at) {
    bool const order = coding_.format == Format::gptq, wide = p.checked->dtype == Stored::i64;
    std::int64_t const group = group_inputs(coding_.type, coding_.quant, shape_.inputs);
    scratch.resize(static_cast<std::size_t>(p.checked->bytes()));
    files.read(*p.checked, scratch, at);
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(scratch.size() / (wide ? 8 : 4)); ++i) {
      std::int64_t const high = wide ? static_cast<std::int32_t>(word_at(scratch.data(), 2 * i + 1)) : 0;
      std::int64_t const low = word_at(scratch.data(), wide ? 2 * i : i), want = order ? i / group : i ? shape_.inputs : shape_.outputs;
      std::int64_t const got = wide ? high * (std::int64_t{1} << 32) + low : static_cast<std::int32_t>(low);
      if (got != want)
        files.reject(*p.checked, ": number " + std::to_string(i) + ": got " + std::to_string(got) + ", want " + std::to_string(want) +
                     (order ? ": groups that are not of consecutive inputs (act-order, desc_act) are not supported" : " (config.json)"), at);
    }
  }

  MatrixShape shape_{};
  Coding coding_{};
  std::int64_t groups_ = 1, out_stride_ = 0, in_stride_ = 1;
  std::vector<std::byte> codes_;
  std::vector<float> scale_;
  std::vector<std::uint8_t> zero_;
};

// All numbers of a matrix [outputs][inputs], rounded to T; scale and zero point in fp32.
template <class T> void dequantise(Codes const& c, Coding const& of, T* to) {
  std::array<float, 256> value{};
  for (unsigned i = 0; i < value.size(); ++i) value[i] = code_value(of.type, of.quant.zero_points, c.bits == 8 ? i : i & 15u);
  for (std::int64_t o = 0; o < c.outputs; ++o)
    for (std::int64_t first = 0; first < c.inputs; first += c.group) {
      GroupScale const g = c.group_scale(o, first);
      for (std::int64_t i = first; i < c.inputs && i < first + c.group; ++i)
        to[o * c.inputs + i] = from_float<T>((value[c(o, i)] - static_cast<float>(g.zero)) * g.scale);
    }
}

}}}
