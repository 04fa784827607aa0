// Packed layers as files: packed once, straight into the file, then mapped. The page cache keeps the experts that are used,
// so a model larger than memory runs at the speed of the disk where it must and of memory where it can.
#pragma once
#include <cstring>
#include <type_traits>

#include "../host/pack.hpp"
#include "../host/read_ahead.hpp"
#include "config_fields.hpp"
#include "mapped_file.hpp"

namespace coterie { inline namespace v0 {

namespace io {

// The first page of a packed file, in the byte order of the machine that wrote it; the packed layer follows.
struct PackedFileHeader {
  static constexpr char name[16] = "coterie packed\n";
  static constexpr std::uint32_t order = 0x01020304, config_fields = sizeof(Config) / 4;
  static constexpr std::size_t page = 4096;

  char magic[16];
  std::uint32_t byte_order, layout_version, fields, alignment;
  std::array<std::uint32_t, config_fields> config;           // Config as it stands in memory
  std::uint32_t unused;
  std::int64_t table_rows;
  std::uint64_t expert_panels, expert_down, expert_stride, bytes;   // of the packed layer
};
static_assert(sizeof(PackedFileHeader) == 16 + 4 * (4 + 51 + 1) + 8 * 5 && std::is_trivially_copyable_v<PackedFileHeader> && std::is_trivially_copyable_v<Config>);

// A field of a file's Config: the enumerator's name where the number is one.
template <class T> std::string field_text(T value) {
  if constexpr (std::is_enum_v<T>) {
    auto const number = static_cast<std::size_t>(value);
    return number < EnumNames<T>::all.size() ? std::string(EnumNames<T>::all[number]) : std::to_string(static_cast<int>(value));
  } else {
    return std::to_string(value);
  }
}

template <Config C> PackedFileHeader packed_file_header(host::PackedLayout<C> const& l, std::int64_t table_rows) {
  PackedFileHeader h{};
  std::memcpy(h.magic, PackedFileHeader::name, sizeof h.magic);
  h.byte_order = PackedFileHeader::order, h.layout_version = packed_layout_version;
  h.fields = PackedFileHeader::config_fields, h.alignment = host::PanelShape::alignment;
  h.config = coterie::bit_cast<std::array<std::uint32_t, PackedFileHeader::config_fields>>(C);
  h.table_rows = table_rows;
  h.expert_panels = l.expert_panels, h.expert_down = l.expert_down, h.expert_stride = l.expert_stride, h.bytes = l.bytes;
  return h;
}

// Refuses a file that this program's PackedFile<C> did not write, or not all of; every field of the Config counts.
template <Config C> void check_packed_file(File const& file, Where at) {
  auto const want_number = [&](char const* what, auto got, auto want, char const* hint = "") {
    if (got != want) file.reject(std::string(what) + ": got " + std::to_string(got) + ", want " + std::to_string(want) + hint, at);
  };
  if (file.bytes() < PackedFileHeader::page)
    file.reject("size: got " + std::to_string(file.bytes()) + " bytes, want at least " + std::to_string(PackedFileHeader::page), at);
  PackedFileHeader h;
  file.read(0, std::as_writable_bytes(std::span(&h, 1)), at);
  if (std::memcmp(h.magic, PackedFileHeader::name, sizeof h.magic) != 0) file.reject("is not a packed layer: got " + printable({h.magic, 15}) + " at first, want 'coterie packed'", at);
  if (h.byte_order != PackedFileHeader::order) file.reject("was packed on a machine of another byte order", at);
  want_number("version of the packed layout", h.layout_version, packed_layout_version, "; pack it again");
  want_number("fields of the Config", h.fields, PackedFileHeader::config_fields, "; pack it again");
  each_field(coterie::bit_cast<Config>(h.config), C, [&](std::string_view group, std::string_view field, auto got, auto want) {
    if (coterie::bit_cast<std::uint32_t>(got) != coterie::bit_cast<std::uint32_t>(want))
      file.reject("field " + (group.empty() ? std::string() : std::string(group) + ".") + std::string(field) + ": got " + field_text(got) + " (file), want " + field_text(want) + " (Config)", at);
  });
  want_number("alignment", h.alignment, static_cast<std::uint32_t>(host::PanelShape::alignment));
  bool const has_table = C.router.select == Select::table;
  if (h.table_rows < 0 || h.table_rows >= std::int64_t{1} << 31 || (!has_table && h.table_rows != 0))
    file.reject("rows of the table: got " + std::to_string(h.table_rows) + (has_table ? ", want 0 to 2147483647" : ", want 0"), at);
  auto const l = host::PackedLayout<C>::make(C.experts, h.table_rows);
  want_number("place of the first expert", h.expert_panels, std::uint64_t{l.expert_panels});
  want_number("place of down in an expert", h.expert_down, std::uint64_t{l.expert_down});
  want_number("bytes of an expert", h.expert_stride, std::uint64_t{l.expert_stride});
  want_number("bytes of the packed layer", h.bytes, std::uint64_t{l.bytes});
  want_number("size", file.bytes(), PackedFileHeader::page + std::uint64_t{l.bytes}, " bytes");
  typename host::PackedLayout<C>::Header scalars;
  file.read(PackedFileHeader::page + l.header, std::as_writable_bytes(std::span(&scalars, 1)), at);
  want_number("rows of the table in the packed layer", scalars.table_rows, h.table_rows);
  want_number("flag of a mapped layer", scalars.mapped, std::int64_t{1});
}

}

// A packed layer in a file, mapped for reading: what it takes of memory is page cache, shared by every process that maps the
// file and given up when something else needs it. The layer is as the Packer made it, bit for bit.
// The file must stay as it is while it is open: to replace it, pack it anew, which gives the name another file. Who writes
// into it, cuts it short or pulls out its disk changes what is mapped, and reading bytes that are gone is the signal SIGBUS,
// which no check when it was opened can prevent.
template <Config C>
class PackedFile {
 public:
  static constexpr Config config = C;
  using Layout = host::PackedLayout<config>;

  // Throws Error unless the file is a whole packed layer of exactly this Config. Reads two small pieces of it.
  explicit PackedFile(std::string path, Where at = Where::here()) : path_(std::move(path)) {
    io::File const file{path_, at};
    io::check_packed_file<config>(file, at);
    mapping_ = io::Mapping{file.descriptor(), file.bytes(), false, path_, at};
    host::ask_for(mapping_.data(), io::PackedFileHeader::page + Layout::make(C.experts, 0).expert_panels);   // what every token needs
  }

  PackedView<config, Host> view() const& { return {.data = mapping_.data() + io::PackedFileHeader::page}; }
  PackedView<config, Host> view() const&& = delete;                      // would outlive its mapping
  std::string const& path() const { return path_; }

 private:
  std::string path_;
  io::Mapping mapping_;
};

// A Packer whose memory is a file: the same calls in the same order, and finish() opens what it wrote. Every expert is sent
// to the disk behind the next one, so that packing a layer takes the memory of two or three experts. The file takes its
// name when it is whole; until then, and after an error, `path` is as it was.
//   FilePacker<C> p{on, "layer0.packed"}; p.router(raw); for each expert p.expert(e, gate, up, down); auto file = p.finish();
template <Config C>
class FilePacker {
 public:
  static constexpr Config config = C;
  using Layout = typename PackedFile<config>::Layout;

  // Takes the room on the disk at once. table_rows: the vocabulary of Select::table.
  FilePacker(Host const& on, std::string path, std::int64_t table_rows = 0, Where at = Where::here())
      : rows_(counted(table_rows, at)), layout_(Layout::make(C.experts, rows_)),
        file_(std::move(path), io::PackedFileHeader::page + layout_.bytes, at), packer_(on, {packed(), layout_.bytes}, rows_, at) {}

  // As Packer's.
  template <DType Stored> void router(Weights<config, Stored> const& raw, Where at = Where::here()) { packer_.router(raw, at); }
  template <DType D>
  void expert(int e, Matrix<D, C.ffn, width(C)> gate, Matrix<D, C.ffn, width(C)> up, Matrix<D, width(C), C.ffn> down, Where at = Where::here()) {
    packer_.expert(e, gate, up, down, at);
    file_.start_writing(place(e), layout_.expert_stride);
    if (behind_ >= 0 && behind_ != e) file_.let_go(place(behind_), layout_.expert_stride);
    behind_ = e;
  }
  // Refuses a layer of which a part was never packed; waits for the disk.
  PackedFile<config> finish(Where at = Where::here()) {
    packer_.finish(at);
    reinterpret_cast<typename Layout::Header*>(packed() + layout_.header)->mapped = 1;
    auto const header = io::packed_file_header<config>(layout_, rows_);
    std::memcpy(file_.data(), &header, sizeof header);
    file_.publish(at);
    return PackedFile<config>{file_.path(), at};
  }

 private:
  static std::int64_t counted(std::int64_t table_rows, Where at) {       // before the file is made for them
    constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
    require(table_rows >= 0 && table_rows <= most, "FilePacker: table_rows must be 0 to 2^31 - 1", table_rows, most, at);
    return table_rows;
  }
  std::byte* packed() const { return file_.data() + io::PackedFileHeader::page; }
  std::size_t place(int e) const { return io::PackedFileHeader::page + layout_.expert_panels + static_cast<std::size_t>(e) * layout_.expert_stride; }

  std::int64_t rows_;
  Layout layout_;
  io::NewFile file_;
  Packer<config, Host> packer_;
  int behind_ = -1;                              // the expert that is on its way to the disk
};

// All at once, from views of a whole layer.
template <Config C, DType Stored>
PackedFile<C> pack_to_file(Host const& on, Weights<C, Stored> const& raw, std::string path, Where at = Where::here()) {
  FilePacker<C> packer{on, std::move(path), raw.table.rows, at};
  packer.router(raw, at);
  for (int e = 0; e < C.experts; ++e) {
    auto const i = static_cast<std::size_t>(e);
    packer.expert(e, raw.gate[i], raw.up[i], raw.down[i], at);
  }
  return packer.finish(at);
}

}}
