#include "route.cuh"
std::string second() { return refusal(ct::Cuda{}); }
int main() { std::printf("first: %s\nsecond: %s\n", first().c_str(), second().c_str()); }
