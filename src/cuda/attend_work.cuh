// What attend.cu hands to the files that launch its kernels: one file a pair of codes, so that they compile side by side.
#pragma once

#include "piece.cuh"

namespace qjl::cuda {

// Pieces whose largest has `rows` rows.
struct AttendWork {
  const AttendLaunch& launched;
  std::int32_t pieces;
  int rows;
  cudaStream_t stream;
};

void attend_signs_l4(const AttendWork& work);
void attend_l8_l4(const AttendWork& work);
void attend_l8_l8(const AttendWork& work);
void attend_l16_l8(const AttendWork& work);
void attend_l16_l16(const AttendWork& work);

}  // namespace qjl::cuda
