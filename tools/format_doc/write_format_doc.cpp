// Prints docs/format.md: `write_format_doc > docs/format.md`.
#include <iostream>

#include "format_doc.hpp"

int main() {
  std::cout << qjl::page_format_markdown();
  return std::cout.good() ? 0 : 1;
}
