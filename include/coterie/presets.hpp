// One Config per published MoE layer, and the whole models they belong to. Axes: docs/configuration.md.
// A preset says what the published layer computes; weights stay bf16 unless the checkpoint ships something narrower
// that is the model's own format (gpt-oss, Kimi K3). Widths marked "recalled" are known from memory of the released
// configuration and supported only by the parameter count they give.
#pragma once
#include "models.hpp"
#include "presets/all.hpp"
