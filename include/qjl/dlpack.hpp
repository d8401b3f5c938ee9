// A DLPack tensor as a view: what NumPy, torch, JAX and CuPy hand out. Bring your own dlpack.h; this header needs none.
//
//   DLTensor [heads, tokens, dim], fp32, fp16 or bf16, channels contiguous, in host or CUDA memory  ->  TensorView
//
// Errors: invalid_argument on another rank, type, stride or kind of device.
#pragma once

#include <cstdint>
#include <string>

#include "qjl/error.hpp"
#include "qjl/tensor.hpp"

namespace qjl {

// DLPack's numbers (dlpack.h, v0.6 and later).
inline constexpr int kDlCpu = 1, kDlCuda = 2, kDlCudaHost = 3, kDlCudaManaged = 13;
inline constexpr int kDlInt = 0, kDlUint = 1, kDlFloat = 2, kDlBfloat = 4;

template <typename DlTensor>
TensorView view_of(const DlTensor& tensor) {
  const auto refuse = [](const std::string& found, const char* wanted) {
    throw Error(ErrorKind::invalid_argument, "[dlpack] found " + found + ", wanted " + wanted);
  };
  if (tensor.ndim != 3) refuse(std::to_string(tensor.ndim) + " dimensions", "3: heads, tokens, channels");
  const int code = static_cast<int>(tensor.dtype.code), bits = tensor.dtype.bits;
  const bool known =
      tensor.dtype.lanes == 1 && ((code == kDlFloat && (bits == 32 || bits == 16)) || (code == kDlBfloat && bits == 16));
  if (!known) refuse("the type code " + std::to_string(code) + " of " + std::to_string(bits) + " bits", "fp32, fp16 or bf16");
  const int place = static_cast<int>(tensor.device.device_type);
  const bool host = place == kDlCpu || place == kDlCudaHost, cuda = place == kDlCuda || place == kDlCudaManaged;
  if (!host && !cuda) refuse("the device type " + std::to_string(place), "host or CUDA memory");
  TensorView view;
  view.data = static_cast<const std::uint8_t*>(tensor.data) + tensor.byte_offset;
  view.dtype = bits == 32 ? DType::f32 : code == kDlBfloat ? DType::bf16 : DType::f16;
  view.heads = tensor.shape[0];
  view.tokens = tensor.shape[1];
  view.dim = tensor.shape[2];
  view.head_stride = tensor.strides != nullptr ? tensor.strides[0] : view.tokens * view.dim;
  view.token_stride = tensor.strides != nullptr ? tensor.strides[1] : view.dim;
  if (tensor.strides != nullptr && view.dim > 1 && tensor.strides[2] != 1) {
    refuse("channels " + std::to_string(tensor.strides[2]) + " apart", "contiguous ones");
  }
  view.device = cuda ? Device::cuda(static_cast<int>(tensor.device.device_id)) : Device::cpu();
  return view;
}

// The same for a tensor that is written: fp32.
template <typename DlTensor>
OutputView output_of(const DlTensor& tensor) {
  const TensorView view = view_of(tensor);
  if (view.dtype != DType::f32) throw Error(ErrorKind::invalid_argument, "[dlpack] found an output of 16 bits, wanted fp32");
  return {const_cast<float*>(static_cast<const float*>(view.data)),
          view.heads,
          view.tokens,
          view.dim,
          view.head_stride,
          view.token_stride,
          view.device};
}

}  // namespace qjl
