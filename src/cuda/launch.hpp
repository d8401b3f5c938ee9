// What the CUDA back end can launch. The Args are the back end's own (device_backend.hpp); records on the host are handed to
// kernels by value.
//
// No call allocates, synchronises or reads the environment; all can be captured in a CUDA graph. A launch that the driver refuses
// throws qjl::Error. Attend and combine take a whole batch of pieces, of any number of sequences: the plan lies in device memory.
//
//   attend    piece i -> (out, max, sum) as AttendPiece says; its workspace is not used
//   combine   pieces of a block, in order -> out / sum and lse                       shared/softmax_state.hpp
#pragma once

#include <cuda_runtime_api.h>

#include "device_backend.hpp"

namespace qjl::cuda {

using qjl::AttendBatch, qjl::CombineBatch, qjl::CombineBlock;

void copy_rows(const CopyRowsArgs& args, cudaStream_t stream);
void place_pages(const PlacePagesArgs& args, cudaStream_t stream);
void encode_keys(const EncodeArgs& args, cudaStream_t stream);
void encode_values(const EncodeArgs& args, cudaStream_t stream);
void decode(const DecodeArgs& args, cudaStream_t stream);
void project_query(const ProjectArgs& args, cudaStream_t stream);
void score(const ScoreArgs& args, cudaStream_t stream);
void attend(const AttendBatch& batch, cudaStream_t stream);
void attend(const AttendArgs& args, const AttendPiece& piece, cudaStream_t stream);  // one piece, without a plan in device memory
void combine(const CombineBatch& batch, cudaStream_t stream);

}  // namespace qjl::cuda
