// A checkpoint's layer straight into a packed file.
#pragma once
#include "checkpoint.hpp"
#include "packed_file.hpp"

namespace coterie { inline namespace v0 {

// As load(), into a file that is then mapped: memory is two or three experts, whatever the layer's size.
template <Config C>
PackedFile<C> load_to_file(Host const& on, Checkpoint const& from, int layer, std::string path, Progress progress = {}, Where at = Where::here()) {
  check(C, from.config(layer, at), at);
  from.check_types(layer, at);
  io::Loader<C, FilePacker<C>> loader{from, layer, progress, at};
  FilePacker<C> packer{on, std::move(path), loader.table_rows(), at};
  loader.pack_into(packer);
  return packer.finish(at);
}

}}
