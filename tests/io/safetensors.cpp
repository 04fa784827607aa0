#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <coterie/io/json.hpp>
#include <coterie/io/safetensors.hpp>

#include "hostile.hpp"

namespace fs = std::filesystem;
using namespace coterie;

namespace {

struct Folder {
  std::string path = (fs::temp_directory_path() / "coterie-io-XXXXXX").string();
  Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Folder() { fs::remove_all(path); }
  std::string put(std::string const& name, std::string const& bytes) const {
    std::ofstream(path + "/" + name, std::ios::binary) << bytes;
    return path + "/" + name;
  }
};

// The sentence of the error that `act` ends in; empty: none.
template <class Act> std::string sentence(Act act) {
  try {
    act();
  } catch (Error const& e) {
    return e.what();
  }
  return {};
}
bool has(std::string const& text, std::string const& piece) { return text.find(piece) != text.npos; }

std::string bytes_of(auto const& files, TensorInfo const& t, std::size_t step) {
  std::string all(t.bytes(), '?');
  auto const span = std::as_writable_bytes(std::span(all));
  if (!step) files.read(t, span);
  else for (std::size_t i = 0; i < span.size(); i += step) files.read(t, i, span.subspan(i, std::min(step, span.size() - i)));
  return all;
}

}

TEST_CASE("safetensors: every hostile file ends in its own sentence") {
  Folder const folder;
  auto const open_files = [] {
    fs::directory_iterator const all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  auto const cases = crafted::hostile();
  auto const before = open_files();
  CHECK(cases.size() >= 60);
  for (auto const& c : cases) {
    CAPTURE(c.name);
    std::string const path = crafted::write(c, folder.path);
    std::string const got = sentence([&] { crafted::open(c.kind, path); });
    CAPTURE(got);
    CAPTURE(c.error);
    CHECK(has(got, c.error));
    CHECK(has(got, "coterie: '" + folder.path + "/" + c.name));   // the file
    CHECK(has(got, "hostile.cpp:"));                                // the caller
    CHECK(got.size() < 1000);
    CHECK(got.find('\n') == got.npos);
    fs::remove_all(folder.path + "/" + c.name);
  }
  CHECK(open_files() == before);
}

TEST_CASE("safetensors: every valid file is accepted") {
  Folder const folder;
  for (auto const& c : crafted::valid()) {
    CAPTURE(c.name);
    std::string const path = crafted::write(c, folder.path);
    CHECK(sentence([&] { crafted::open(c.kind, path); }) == "");
  }
}

TEST_CASE("safetensors: what a file says is what is read") {
  Folder const folder;
  std::string const path = folder.put("m.safetensors", crafted::safetensors(
      R"({"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[1,13]},"__metadata__":{"b":"2","a":"1"},)"
      R"("empty":{"dtype":"F32","shape":[0,7],"data_offsets":[13,13]},"scalar":{"dtype":"I8","shape":[],"data_offsets":[0,1]}})",
      "s0123456789ab"));
  Safetensors const file(path);
  CHECK(file.path() == path);
  CHECK(file.names() == std::vector<std::string>{"empty", "scalar", "w"});
  REQUIRE(file.metadata().size() == 2);
  CHECK(file.metadata()[0] == std::pair<std::string, std::string>("a", "1"));
  TensorInfo const& w = file.at("w");
  CHECK(w.dtype == Stored::bf16);
  CHECK(w.shape == std::vector<std::int64_t>{2, 3});
  CHECK(w.bytes() == 12);
  CHECK(bytes_of(file, w, 0) == "0123456789ab");
  CHECK(bytes_of(file, file.at("scalar"), 0) == "s");
  CHECK(file.at("scalar").shape.empty());
  CHECK(bytes_of(file, file.at("empty"), 0) == "");
  CHECK(file.find("") == nullptr);
  CHECK(file.find("x") == nullptr);
  CHECK(has(sentence([&] { (void)file.at("x"); }), "m.safetensors': has no tensor 'x'"));

  std::vector<std::byte> room(13);
  auto const span = std::span(room);
  CHECK(has(sentence([&] { file.read(w, span); }), "tensor 'w': read: got room for 13 bytes, want 12"));
  CHECK(has(sentence([&] { file.read(w, 1, span.first(12)); }), "read of 12 bytes at byte 1: got 12 bytes in the tensor"));
  CHECK(has(sentence([&] { file.read(w, ~std::uint64_t{0}, span.first(2)); }), "read of 2 bytes at byte 18446744073709551615"));
  CHECK(sentence([&] { file.read(w, 12, span.first(0)); }) == "");
  TensorInfo forged = w;
  forged.end = 14;
  CHECK(has(sentence([&] { file.read(forged, 0, span.first(1)); }), "is not of this file"));
  forged.begin = 15;
  CHECK(has(sentence([&] { file.read(forged, 0, span.first(1)); }), "is not of this file"));

  Safetensors other(folder.put("other.safetensors", crafted::safetensors("{}")));
  other = Safetensors(path);
  CHECK(bytes_of(other, other.at("w"), 5) == "0123456789ab");
}

TEST_CASE("safetensors: the names of the types") {
  for (auto const& [text, size] : io::stored_names) {
    CHECK(name(stored(text).value()) == text);
    CHECK(bits(stored(text).value()) == size);
  }
  CHECK(!stored("bf16"));
  CHECK(bits(Stored::f4) == 4);
  CHECK(name(Stored::f8_e8m0) == "F8_E8M0");
  CHECK(io::tensor_bytes(Stored::c64, {3, 2}) == 48);
  CHECK(!io::tensor_bytes(Stored::f6_e2m3, {2}));
}

TEST_CASE("safetensors: streaming reads equal whole reads, from a folder, an index and one file") {
  Folder const folder;
  std::string data[2];
  for (int shard = 0; shard < 2; ++shard)
    for (unsigned i = 0; i < 10'007; ++i) data[shard] += static_cast<char>((i * 2654435761u >> 11) + static_cast<unsigned>(shard));
  auto const header = [](std::string const& x, std::string const& y) {
    return "{\"" + x + R"(":{"dtype":"U8","shape":[7],"data_offsets":[0,7]},")" + y +
           R"(":{"dtype":"U8","shape":[100,100],"data_offsets":[7,10007]}})";
  };
  folder.put("1.safetensors", crafted::safetensors(header("b", "d"), data[0]));
  folder.put("2.safetensors", crafted::safetensors(header("c", "a"), data[1]));
  std::string const index = folder.put("model.safetensors.index.json",
      R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors","c":"2.safetensors","d":"1.safetensors"}})");

  ShardedSafetensors all(folder.path);
  CHECK(all.names() == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(all.files().size() == 2);
  CHECK(all.at("a").file == 1);
  for (std::size_t step : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{9999}}) {
    CHECK(bytes_of(all, all.at("a"), step) == data[1].substr(7));
    CHECK(bytes_of(all, all.at("b"), step) == data[0].substr(0, 7));
    CHECK(bytes_of(all, all.at("d"), step) == data[0].substr(7));
  }
  ShardedSafetensors const moved = std::move(all);
  CHECK(bytes_of(moved, moved.at("c"), 2) == data[1].substr(0, 7));
  CHECK(moved.find("e") == nullptr);
  CHECK(has(sentence([&] { (void)moved.at("e"); }), "index.json': has no tensor 'e'"));
  TensorInfo foreign = moved.at("c");
  foreign.file = 2;
  CHECK(has(sentence([&] { (void)bytes_of(moved, foreign, 0); }), "is not of this checkpoint"));
  CHECK(ShardedSafetensors(index).names().size() == 4);

  ShardedSafetensors const single(folder.path + "/2.safetensors");
  CHECK(single.names() == std::vector<std::string>{"a", "c"});
  CHECK(bytes_of(single, single.at("a"), 100) == data[1].substr(7));
  CHECK(single.tensors().size() == 2);

  fs::rename(folder.path + "/2.safetensors", folder.path + "/model.safetensors");
  fs::remove(index);
  CHECK(ShardedSafetensors(folder.path).names().size() == 2);
  fs::remove(folder.path + "/model.safetensors");
  CHECK(has(sentence([&] { ShardedSafetensors{folder.path}; }), "model.safetensors': cannot be opened: No such file"));
}

TEST_CASE("safetensors: one file, many threads") {
  Folder const folder;
  std::string data;
  for (int i = 0; i < 1 << 16; ++i) data += static_cast<char>(i * 7 >> 3);
  Safetensors const file(folder.put("m.safetensors", crafted::safetensors(
      R"({"t":{"dtype":"U8","shape":[65536],"data_offsets":[0,65536]}})", data)));
  std::vector<std::string> got(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < got.size(); ++i)
    threads.emplace_back([&, i] { got[i] = bytes_of(file, file.at("t"), 1000 + i); });
  for (auto& t : threads) t.join();
  for (auto const& g : got) CHECK(g == data);
}

TEST_CASE("safetensors: a file cut after it was opened") {
  Folder const folder;
  std::string const path = folder.put("m.safetensors", crafted::safetensors(
      R"({"t":{"dtype":"U8","shape":[4096],"data_offsets":[0,4096]}})", std::string(4096, 'x')));
  Safetensors const file(path);
  fs::resize_file(path, fs::file_size(path) - 1);
  std::string room(4096, '?');
  auto const span = std::as_writable_bytes(std::span(room));
  CHECK(has(sentence([&] { file.read(file.at("t"), span); }), "got 4095 bytes, want 4096: the file was cut"));
  CHECK(sentence([&] { file.read(file.at("t"), 0, span.first(4095)); }) == "");
  fs::resize_file(path, 0);
  CHECK(has(sentence([&] { file.read(file.at("t"), 0, span.first(1)); }), "got 0 bytes, want 1"));
}

TEST_CASE("safetensors: what is no regular file is refused at once") {
  Folder const folder;
  CHECK(has(sentence([&] { Safetensors{folder.path}; }), "is not a regular file"));
  std::string const pipe = folder.path + "/pipe.safetensors";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(has(sentence([&] { Safetensors{pipe}; }), "is not a regular file"));   // and does not wait for a writer
  CHECK(has(sentence([&] { Safetensors{"/dev/zero"}; }), "is not a regular file"));
  CHECK(has(sentence([&] { Safetensors{folder.path + "/a\nb"}; }), "a\\x0ab': cannot be opened"));
}

TEST_CASE("safetensors: a folder may have the name of a file") {
  Folder const folder;
  std::string const one = crafted::safetensors(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "A");
  for (std::string const name : {"m.json", "m.safetensors", "m.safetensors.index.json"}) {
    CAPTURE(name);
    fs::create_directory(folder.path + "/" + name);
    CHECK(has(sentence([&] { ShardedSafetensors{folder.path + "/" + name}; }), name + "/model.safetensors': cannot be opened: No such file"));
    folder.put(name + "/model.safetensors", one);
    CHECK(ShardedSafetensors(folder.path + "/" + name).names() == std::vector<std::string>{"a"});
    fs::rename(folder.path + "/" + name + "/model.safetensors", folder.path + "/" + name + "/1.safetensors");
    folder.put(name + "/model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors"}})");
    CHECK(ShardedSafetensors(folder.path + "/" + name).names() == std::vector<std::string>{"a"});
    CHECK(ShardedSafetensors(folder.path + "/" + name + "/").names() == std::vector<std::string>{"a"});
  }
  fs::create_directory_symlink(folder.path + "/m.json", folder.path + "/link.json");
  CHECK(ShardedSafetensors(folder.path + "/link.json").names().size() == 1);
  CHECK(has(sentence([&] { ShardedSafetensors{folder.path + "/none.json"}; }), "none.json': cannot be opened"));
  CHECK(has(sentence([&] { ShardedSafetensors{folder.path + "/none.safetensors"}; }), "none.safetensors': cannot be opened"));
}

TEST_CASE("safetensors: the tensors whose names begin with something") {
  Folder const folder;
  std::string header = "{";
  for (char const* name : {"b.c", "a", "b", "b.d", "b/", "c", "b\u00ff"})
    header += (header.size() > 1 ? ",\"" : "\"") + std::string(name) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  ShardedSafetensors const files(folder.put("m.safetensors", crafted::safetensors(header + "}")));
  auto const names = [&](char const* prefix) {
    std::string all;
    for (TensorInfo const* const t : files.tensors(prefix)) all += t->name + " ";
    return all;
  };
  CHECK(names("b.") == "b.c b.d ");
  CHECK(names("b") == "b b.c b.d b/ b\xc3\xbf ");
  CHECK(names("b.d") == "b.d ");
  CHECK(names("c") == "c ");
  CHECK(names("b.cc") == "");
  CHECK(names("d") == "");
  CHECK(names("").size() == names("a").size() + names("b").size() + names("c").size());
}

TEST_CASE("files: short reads and interrupted reads are carried on, errors are not") {
  std::string const data = "0123456789";
  std::string got(10, '?');
  auto const span = std::as_writable_bytes(std::span(got));
  int error = -1, calls = 0;
  auto const slow = [&](void* to, std::size_t size, off_t from) -> ssize_t {
    if (++calls % 2) return errno = EINTR, -1;
    std::size_t const n = std::min({size, std::size_t{3}, data.size() - static_cast<std::size_t>(from)});
    std::memcpy(to, data.data() + from, n);
    return static_cast<ssize_t>(n);
  };
  CHECK(io::read_fully(slow, 0, span, error) == 10);
  CHECK(error == 0);
  CHECK(got == data);
  CHECK(calls == 8);
  CHECK(io::read_fully(slow, 4, span, error) == 6);   // the end
  CHECK(error == 0);
  auto const broken = [&](void*, std::size_t, off_t) -> ssize_t { return errno = EIO, -1; };
  CHECK(io::read_fully(broken, 0, span, error) == 0);
  CHECK(error == EIO);
  CHECK(io::read_fully(broken, 0, span.first(0), error) == 0);
  CHECK(error == 0);
}

TEST_CASE("safetensors: a header of 10 MB is read in one go") {
  // What would be slow if it were not linear: names that differ only at their ends, all to be compared.
  std::string header = "{";
  int tensors = 0;
  while (header.size() < 10'000'000) {
    std::string const name = std::string(900, 'n') + std::to_string(tensors);
    std::string const begin = std::to_string(tensors), end = std::to_string(tensors + 1);
    header += (tensors ? ",\"" : "\"") + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + begin + "," + end + "]}";
    ++tensors;
  }
  auto const parsed = io::parse_safetensors_header(header + "}", static_cast<std::uint64_t>(tensors), "memory");
  CHECK(parsed.tensors.size() == static_cast<std::size_t>(tensors));
  std::string dims = R"({"t":{"dtype":"U8","data_offsets":[0,1],"shape":[1)";
  while (dims.size() < 10'000'000) dims += ",1";
  CHECK(io::parse_safetensors_header(dims + "]}}", 1, "memory").tensors[0].shape.size() > 4'900'000);
  CHECK(sentence([&] { io::parse_safetensors_header("{" + std::string(10'000'000, ' '), 0, "memory"); }).size() < 1000);
  CHECK(sentence([&] { io::parse_safetensors_header("{\"" + std::string(10'000'000, 'a') + "\":1}", 0, "memory"); }).size() < 1000);
}

TEST_CASE("json: a document's values, fields and paths") {
  Json const doc = Json::parse(
      R"({"i":-3,"r":2.5,"b":false,"s":"\u00e9\n","n":null,"a":[1,[2,{"x":7}]],"o":{},"z":-0,"u":18446744073709551615})", "memory");
  CHECK(doc.kind() == JsonKind::object);
  CHECK(doc.size() == 9);
  CHECK(doc.at("i").integer() == -3);
  CHECK(doc.at("i").number() == -3.0);
  CHECK(doc.at("r").number() == 2.5);
  CHECK(doc.at("b").boolean() == false);
  CHECK(doc.at("s").string() == "\xc3\xa9\n");
  CHECK(doc.at("n").is_null());
  CHECK(doc.at("o").size() == 0);
  CHECK(doc.at("z").kind() == JsonKind::real);
  CHECK(doc.at("u").number() == 18446744073709551615.0);
  CHECK(doc.integer_or("i", 9) == -3);
  CHECK(doc.integer_or("n", 9) == 9);
  CHECK(doc.integer_or("none", 9) == 9);
  CHECK(doc.string_or("none", "x") == "x");
  CHECK(doc.string_or("s", "x").size() == 3);
  CHECK(doc.number_or("n", 0.5) == 0.5);
  CHECK(doc.boolean_or("b", true) == false);
  CHECK(!doc.find("none"));
  CHECK(doc.find("n")->is_null());

  std::string keys;
  for (Json const field : doc) keys += field.key();
  CHECK(keys == "irbsnaozu");
  CHECK(!(doc.at("i").begin() != doc.at("i").end()));   // a scalar holds nothing

  Json const pair = *++doc.at("a").begin();
  CHECK(pair.path() == "a[1]");
  Json const x = (*++pair.begin()).at("x");
  CHECK(x.path() == "a[1][1].x");
  CHECK(x.integer() == 7);
  CHECK(has(sentence([&] { (void)x.string(); }), "coterie: memory: field 'a[1][1].x': got an integer, want a string"));
  CHECK(has(sentence([&] { (void)x.string(); }), "safetensors.cpp:"));
  CHECK(has(sentence([&] { (void)x.at("y"); }), "field 'a[1][1].x': got an integer, want an object"));
  CHECK(has(sentence([&] { (void)doc.integer_or("s", 1); }), "field 's': got a string, want an integer"));
  CHECK(doc.path() == "");
  CHECK(Json::parse("3", "memory").integer() == 3);

  Json const kept = Json::parse("[[\"long enough to be on the heap, surely\"]]", "memory").begin().operator*();
  CHECK((*kept.begin()).string().size() == 37);   // the document lives on in its values
}

TEST_CASE("json: limits are exact") {
  auto const parse = [](std::string const& text, JsonLimits limits) {
    return sentence([&] { (void)Json::parse(text, "memory", limits); });
  };
  CHECK(parse("[[0]]", {.depth = 2}) == "");
  CHECK(has(parse("[[0]]", {.depth = 1}), "nests deeper than 1 levels"));
  CHECK(parse("[0,0]", {.values = 3}) == "");
  CHECK(has(parse("[0,0]", {.values = 2}), "holds more than 2 values"));
  CHECK(parse("[0,0]", {.bytes = 5}) == "");
  CHECK(has(parse("[0,0]", {.bytes = 4}), "size: got 5 bytes, want at most 4"));
}
