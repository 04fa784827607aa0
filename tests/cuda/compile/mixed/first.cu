#include "route.cuh"
std::string first() { return refusal(ct::Cuda{}); }
