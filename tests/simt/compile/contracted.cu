// What contraction.sh must refuse: a product and a sum that nvcc makes one instruction of; and what it must not.
extern "C" __global__ void contracted_kernel(float* v) { v[threadIdx.x] = v[threadIdx.x] * v[0] + v[1]; }
extern "C" __global__ void explicit_kernel(float* v) { v[threadIdx.x] = fmaf(v[threadIdx.x], v[0], v[1]); }
