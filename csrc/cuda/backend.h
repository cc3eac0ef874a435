// The CUDA backend: raw pointers and streams, no torch. Each function enqueues on `stream` of
// args.device and returns 0, or a cudaError_t that message() explains.
#pragma once

#include "core/launch.h"

namespace fastdiff::cuda {

/// tickets: [batch] int32 zeros on the device, left as zeros.
int step(const StepArgs& args, int32_t* tickets, void* stream);
int normal(const NormalArgs& args, void* stream);

/// partial: room for chunks_of(numel) * 5 doubles per sample on the device.
int moments(const MomentArgs& args, double* partial, void* stream);

/// args.partial as for the CPU.
int pass(const PassArgs& args, void* stream);
int categorical(const CategoricalArgs& args, void* stream);

const char* message(int error);
const char* architectures();
const char* compiler();  // version of nvcc

/// Threads of the launch with which torch fills `numel` normals on a device; 0 without a device.
int64_t torch_threads(int device, int64_t numel);

}  // namespace fastdiff::cuda
