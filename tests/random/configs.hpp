// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot); 13 quantised ones.
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr std::size_t configs = 136;
using Subjects = std::vector<std::unique_ptr<Subject>>;
void compile_0(Subjects& to);
void compile_1(Subjects& to);
void compile_2(Subjects& to);
void compile_3(Subjects& to);
void compile_4(Subjects& to);
void compile_5(Subjects& to);
void compile_6(Subjects& to);
void compile_7(Subjects& to);
void compile_quantised(Subjects& to);
inline void compile_all(Subjects& to) {
  compile_0(to);
  compile_1(to);
  compile_2(to);
  compile_3(to);
  compile_4(to);
  compile_5(to);
  compile_6(to);
  compile_7(to);
  compile_quantised(to);
}

}
