// Launching the alignment through the CUDA runtime, for C++ callers.
#ifndef GAITSTREAM_PGHA_LAUNCH_H
#define GAITSTREAM_PGHA_LAUNCH_H

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "pgha.cuh"

namespace gaitstream {

// Queues the kernels for `params`, whose groups, first_part and order are filled in here.
// `masks` are the part groups as bit masks over channels. Two groups or fewer take one fast launch.
cudaError_t launch_pgha(PghaParams params, const std::vector<uint64_t>& masks, bool half_input, cudaStream_t stream);

}  // namespace gaitstream

#endif
