// The last part of a sum over samples of several chunks.
#pragma once

#include <cuda_runtime.h>

#include "core/launch.h"

namespace fastdiff::cuda {

/// result [batch, sums] = partial [batch, chunks, sums] added up over the chunks; `sums` <= 5.
cudaError_t add_chunks(const double* partial, int64_t batch, int64_t chunks, int sums,
                       const Output& result, cudaStream_t stream);

}  // namespace fastdiff::cuda
