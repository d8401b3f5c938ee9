// How a result reaches the disk.
//
//   a plain file, or nothing yet   written beside under a name that nobody can guess, brought to the disk, renamed over: whole or not
//                                  at all; mode and owner stay
//   a link                         the same for what it points to; the link stays
//   a device, FIFO or socket       written, never replaced; /dev/stdout and the like too
#pragma once

#include <string>
#include <string_view>

namespace qjl::cli {

// Errors: qjl::Error io, when text cannot be put at `path`: a folder, no right to write, a name too long. Leaves nothing.
void check_result_place(const std::string& path);

// Errors: qjl::Error io; a plain file is then as it was.
void write_result_file(const std::string& path, std::string_view text);

}  // namespace qjl::cli
