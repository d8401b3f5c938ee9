// Prints docs/cache_file.md: `write_cache_file_doc > docs/cache_file.md`.
#include <iostream>

#include "cache_file_doc.hpp"

int main() {
  std::cout << qjl::cache_file_markdown();
  return std::cout.good() ? 0 : 1;
}
