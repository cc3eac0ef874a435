// Backends behind one call each: picks the CPU clone, splits the work over torch's threads.
#pragma once

#include "core/launch.h"

namespace fastdiff {

void run_step(const StepArgs& args);
void run_normal(const NormalArgs& args);
void run_moments(const MomentArgs& args);

}  // namespace fastdiff
