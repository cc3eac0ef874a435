// LibTorch's stable ABI, pinned to the oldest torch that the binary has to run on.
#pragma once

#define TORCH_TARGET_VERSION 0x020a000000000000ULL  // 2.10

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
