// Backends behind one call each: the device's, or the CPU clone with the work split over torch's
// threads.
#pragma once

#include "core/launch.h"

namespace fastdiff {

/// torch's current stream of a CUDA device. Throws std::runtime_error where there is none.
void* current_stream(int32_t device);

/// tickets: [batch] int32 zeros on the device of args; null on the CPU.
void run_step(const StepArgs& args, int32_t* tickets);
void run_normal(const NormalArgs& args);

/// partial: doubles on the device, 5 * chunks_of(numel) per sample; null on the CPU.
void run_moments(const MomentArgs& args, double* partial);

/// args.partial: room for sum_chunks_of(numel) sums per sample where that is more than one.
void run_pass(const PassArgs& args);
void run_categorical(const CategoricalArgs& args);

}  // namespace fastdiff
