// coterie.hpp and the CUDA backend. For nvcc; without a GPU the same code is executed by the emulator of tests/simt/.
#pragma once
#include "coterie.hpp"
#include "device/pack.cuh"
#include "router/cuda.cuh"
#include "dispatch/cuda.cuh"
#include "experts/cuda.cuh"
#include "experts/shared.cuh"
#include "experts/latent.cuh"
#include "combine/cuda.cuh"
#include "experts/decode.cuh"
