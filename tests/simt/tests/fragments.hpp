// What the hardware gave, recorded for ever: on a GPU, with COTERIE_FRAGMENTS=folder, a test writes its results there; committed to
// tests/simt/fragments/, such a file is what every later run, emulated or not, is compared with.
#pragma once
#include <doctest/doctest.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace samples {

template <class T> void check_recorded(std::string const& name, std::vector<T> const& values) {
  static_assert(sizeof(T) == 4);
  auto const word = [&](std::size_t i) { return coterie::bit_cast<std::uint32_t>(values[i]); };
#if !defined(COTERIE_SIMT)
  if (char const* const folder = std::getenv("COTERIE_FRAGMENTS")) {
    std::ofstream out(std::string(folder) + "/" + name + ".txt");
    out << std::hex;
    for (std::size_t i = 0; i < values.size(); ++i) out << word(i) << (i % 8 == 7 ? '\n' : ' ');
    CHECK(out.good());
  }
#endif
  std::ifstream in(COTERIE_TESTS_DIR "/simt/fragments/" + name + ".txt");
  if (!in) return;                               // no GPU has written it yet
  in >> std::hex;
  std::size_t same = 0;
  for (std::uint32_t recorded; same < values.size() && in >> recorded && recorded == word(same);) ++same;
  CHECK_MESSAGE(same == values.size(), name << " differs from what the hardware gave");
}

}
