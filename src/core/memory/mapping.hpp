// Memory straight from the operating system: zero at first, resident only where it has been touched, given back at once when
// freed. Address space is reserved without a promise of memory, so a large range costs nothing until it is used.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qjl {

class Mapping {
 public:
  enum class Pages { lazy, resident };  // resident: all of it is taken now

  Mapping() = default;
  // Errors: std::bad_alloc when the system refuses.
  Mapping(std::int64_t bytes, Pages pages);
  ~Mapping();
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;

  std::uint8_t* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

  // Bytes of one page of the operating system: the grain in which memory becomes resident.
  static std::int64_t os_page_bytes();

 private:
  std::uint8_t* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace qjl
