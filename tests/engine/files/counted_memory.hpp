// Counts the bytes that a test program asks operator new for. To be included by one file of a program: it replaces the operator.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <new>

inline std::size_t g_largest_request = 0;
inline std::size_t g_requested_bytes = 0;

// Counts what is asked for. Not inlined: gcc would warn of malloc's memory in the hands of delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  g_largest_request = std::max(g_largest_request, size);
  g_requested_bytes += size;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
