// The text of docs/cache_file.md, made from the words and tensors that writer and reader share.
#pragma once

#include <string>

namespace qjl {

std::string cache_file_markdown();

}  // namespace qjl
