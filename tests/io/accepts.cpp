// accepts --write FOLDER   writes all crafted files and prints their paths
// accepts                  reads paths from standard input; prints, for each, "reject <sentence>" or "accept", and after it
//                          the tensors of a safetensors file, as NAME:TYPE:SHAPE:BYTES with names and bytes in hexadecimal
#include <iostream>
#include <span>
#include <string>

#include <coterie/io/safetensors.hpp>

#include "hostile.hpp"

namespace {

std::string hexadecimal(std::string const& bytes) {
  std::string all;
  for (char c : bytes) (all += "0123456789abcdef"[c >> 4 & 15]) += "0123456789abcdef"[c & 15];
  return all;
}

std::string contents(std::string const& path) {
  coterie::Safetensors const file(path);
  std::string all;
  for (coterie::TensorInfo const& t : file.tensors()) {
    std::string bytes(static_cast<std::size_t>(t.bytes()), '?');
    file.read(t, std::as_writable_bytes(std::span(bytes)));
    all.append(" ").append(hexadecimal(t.name)).append(":").append(name(t.dtype)).append(":");
    for (std::int64_t d : t.shape) all += std::to_string(d) + ",";
    all += ":" + hexadecimal(bytes);
  }
  return all;
}

}

int main(int count, char** arguments) {
  if (count == 3 && std::string(arguments[1]) == "--write") {
    for (auto const& cases : {crafted::hostile(), crafted::valid()})
      for (crafted::Case const& c : cases) std::cout << crafted::write(c, arguments[2]) << '\n';
    return 0;
  }
  for (std::string path; std::getline(std::cin, path);) {
    auto const kind = path.ends_with(".index.json") ? crafted::Kind::index
                      : path.ends_with(".json")     ? crafted::Kind::config
                                                    : crafted::Kind::safetensors;
    try {
      crafted::open(kind, path);
      std::cout << "accept" << (kind == crafted::Kind::safetensors ? contents(path) : "") << '\n';
    } catch (coterie::Error const& e) {
      std::cout << "reject " << e.what() << '\n';
    }
  }
}
