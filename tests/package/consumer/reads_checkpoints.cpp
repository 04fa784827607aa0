#include <coterie/io/safetensors.hpp>
#include <cstdio>

int main() {
  try {
    coterie::Safetensors const file("/nonexistent");
  } catch (coterie::Error const& e) {
    std::puts(e.what());
    return 0;
  }
  return 1;
}
