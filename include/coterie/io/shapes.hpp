// The types and shapes that tensors must have: numbers, and each format of quantised matrices.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "../quant.hpp"
#include "family.hpp"
#include "parts.hpp"

namespace coterie { inline namespace v0 { namespace io {

using Shape = std::vector<std::int64_t>;

// One expert's matrix: [outputs,inputs].
struct MatrixShape { std::int64_t outputs = 0, inputs = 0; };
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// -1: any; leading ones of the file's shape are dropped. Of what load() cannot read, no shape is known: it refuses the type.
inline void expect_shape(ShardedSafetensors const& files, TensorInfo const& t, Shape const& want, Where at) {
  if (!dtype_of(t.dtype) && t.dtype != Stored::i64 && t.dtype != Stored::i32) return;
  std::vector<std::int64_t> got = t.shape;
  while (got.size() > want.size() && got.front() == 1) got.erase(got.begin());
  bool same = got.size() == want.size();
  for (std::size_t i = 0; same && i < got.size(); ++i) same = want[i] < 0 || got[i] == want[i];
  if (!same) files.reject(t, ": shape: got " + shape_text(t.shape) + " (file), want " + shape_text(want) + " (config.json)", at);
}
// Of numbers; what is quantised has been looked at.
inline void expect_expert_shape(ShardedSafetensors const& files, TensorPlace const& p, Layout layout, Config const& c, Where at) {
  if (p.coding.format != Format::numbers) return;
  bool const in_out = layout == Layout::halves_in_out || layout == Layout::interleaved_in_out;
  std::int64_t const F = c.ffn, W = width(c), outputs = p.part == Part::down ? W : p.part == Part::gate_up ? 2 * F : F, inputs = p.part == Part::down ? F : W;
  Shape shape = {in_out ? inputs : outputs, in_out ? outputs : inputs};
  if (layout == Layout::flat) shape = {c.experts * F, W};
  else if (layout != Layout::separate) shape.insert(shape.begin(), c.experts);
  expect_shape(files, *p.tensor, shape, at);
}

// Refuses a tensor that is missing or of another type.
inline void expect_type(ShardedSafetensors const& files, TensorPlace const& p, TensorInfo const* t, char const* what, std::initializer_list<Stored> types, Where at) {
  if (!t) files.reject(*p.tensor, std::string(" has no ") + what + " beside it", at);
  std::string text;
  for (Stored const s : types) {
    if (t->dtype == s) return;
    text += (text.empty() ? "" : " or ") + std::string(name(s));
  }
  files.reject(*t, " is stored as " + std::string(name(t->dtype)) + ", want " + text + (p.coding.format == Format::blocks ? ", as MXFP4 blocks are" : ""), at);
}
// The same, and one of another shape than these.
inline void expect(ShardedSafetensors const& files, TensorPlace const& p, TensorInfo const* t, char const* what, std::initializer_list<Stored> types,
            std::vector<Shape> const& shapes, Where at) {
  expect_type(files, p, t, what, types, at);
  std::string text;
  for (Shape const& s : shapes) {
    if (t->shape == s) return;
    text += (text.empty() ? "" : " or ") + shape_text(s);
  }
  files.reject(*t, ": shape: got " + shape_text(t->shape) + " (file), want " + text + " (config.json)", at);
}
// Of a matrix of codes whose coding is known. experts: leading dimension; 0: none.
inline void expect_shapes(ShardedSafetensors const& files, TensorPlace const& p, std::int64_t experts, MatrixShape m, Where at) {
  Coding const& c = p.coding;
  auto const with = [&](Shape s) {
    if (experts) s.insert(s.begin(), experts);
    return s;
  };
  auto const multiple = [&](std::int64_t n, std::int64_t of, char const* what) {
    if (n % of) files.reject(*p.tensor, std::string(": ") + what + ": got " + std::to_string(n) + ", want a multiple of " + std::to_string(of), at);
  };
  std::int64_t const per_word = 32 / bits(c.type), groups = ceil_div(m.inputs, group_inputs(c.type, c.quant, m.inputs));
  std::initializer_list<Stored> const floats{Stored::f32, Stored::bf16, Stored::f16}, powers{Stored::u8, Stored::f8_e8m0}, words{Stored::i32};
  if (c.type == DType::mxfp4) {
    std::initializer_list<Stored> const bytes{c.format == Format::plain ? Stored::i8 : Stored::u8};
    expect_type(files, p, p.tensor, "codes", bytes, at);
    multiple(m.inputs, 32, "inputs");
    expect(files, p, p.tensor, "codes", bytes, {with(c.format == Format::blocks ? Shape{m.outputs, m.inputs / 32, 16} : Shape{m.outputs, m.inputs / 2})}, at);
    expect(files, p, p.scale, "scales", powers, {with({m.outputs, groups})}, at);
  } else if (c.format == Format::plain) {
    expect(files, p, p.tensor, "codes", {p.tensor->dtype}, {with({m.outputs, m.inputs})}, at);
    std::initializer_list<Stored> const any{Stored::f32, Stored::bf16, Stored::f16, Stored::f8_e8m0, Stored::u8};
    if (c.quant.group) expect(files, p, p.scale, "scales", any, {with({ceil_div(m.outputs, c.quant.group_rows), groups})}, at);
    else expect(files, p, p.scale, "scales", any, {with({m.outputs, 1}), with({m.outputs}), with({1}), with({})}, at);
  } else if (c.format == Format::packed) {
    expect(files, p, p.tensor, "codes", words, {{m.outputs, ceil_div(m.inputs, per_word)}}, at);
    expect(files, p, p.scale, "scales", floats, {{m.outputs, groups}}, at);
    if (c.quant.zero_points) expect(files, p, p.zero, "weight_zero_point", words, {{ceil_div(m.outputs, per_word), groups}}, at);
    if (p.checked) expect(files, p, p.checked, "weight_shape", {Stored::i64, Stored::i32}, {{2}}, at);
  } else {
    expect_type(files, p, p.tensor, "codes", words, at);
    multiple(m.outputs, per_word, "outputs");
    if (c.format == Format::gptq) multiple(m.inputs, per_word, "inputs");
    expect(files, p, p.tensor, "codes", words, {c.format == Format::gptq ? Shape{m.inputs / per_word, m.outputs} : Shape{m.inputs, m.outputs / per_word}}, at);
    expect(files, p, p.scale, "scales", floats, {{groups, m.outputs}}, at);
    expect(files, p, p.zero, "qzeros", words, {{groups, m.outputs / per_word}}, at);
    if (p.checked) expect(files, p, p.checked, "g_idx", words, {{m.inputs}}, at);
  }
}

// All matrices of a layer's experts are of one kind.
inline void expect_same(ShardedSafetensors const& files, TensorPlace const& p, Config const& c, Where at) {
  auto const kind = [](DType d, QuantConfig const& q) {
    std::string const size = q.group ? "blocks of " + std::to_string(q.group_rows) + " x " + std::to_string(q.group) : "rows";
    return std::string(coterie::name(d)) + (is_float(d) ? "" : " in " + size + (q.zero_points ? " with zero points" : ""));
  };
  bool const numbers = p.coding.format == Format::numbers;
  if (numbers ? is_float(c.weights) : kind(p.coding.type, p.coding.quant) == kind(c.weights, c.quant)) return;
  files.reject(*p.tensor, " is stored as " + (numbers ? std::string(name(p.tensor->dtype)) : kind(p.coding.type, p.coding.quant)) + ", want " + kind(c.weights, c.quant) +
               ", as the layer's other experts", at);
}

}}}
