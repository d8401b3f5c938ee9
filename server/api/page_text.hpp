// page.html, as the build writes it into a source file.
#pragma once

namespace qjl::server {

extern const char* const kPageText;

}  // namespace qjl::server
