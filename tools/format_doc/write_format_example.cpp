// Prints docs/format_example.md: `write_format_example > docs/format_example.md`.
#include <iostream>

#include "format_example.hpp"

int main() {
  std::cout << qjl::format_example_markdown();
  return std::cout.good() ? 0 : 1;
}
