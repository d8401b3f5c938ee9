// dlpack.h's struct, of which view_of() takes any that has these members.
#pragma once

#include <cstdint>

namespace qjl::test {

struct DlTensor {
  void* data;
  struct {
    int device_type, device_id;
  } device;
  int ndim;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

}  // namespace qjl::test
