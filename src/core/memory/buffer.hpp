// Scratch memory that grows and never shrinks, aligned to a cache line. Contents do not survive a growth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "page.hpp"

namespace qjl {

class Buffer {
 public:
  std::uint8_t* at_least(std::int64_t bytes) {
    if (bytes > bytes_) {
      data_.reset();
      bytes_ = 0;
      data_.reset(static_cast<std::uint8_t*>(::operator new(static_cast<std::size_t>(bytes), kLine)));
      bytes_ = bytes;
    }
    return data_.get();
  }
  std::uint8_t* data() const { return data_.get(); }
  std::int64_t bytes() const { return bytes_; }

 private:
  static constexpr std::align_val_t kLine{layout::kLineBytes};
  struct Free {
    void operator()(std::uint8_t* data) const { ::operator delete(data, kLine); }
  };
  std::unique_ptr<std::uint8_t, Free> data_;
  std::int64_t bytes_ = 0;
};

}  // namespace qjl
