// Any bytes as a plan and as measured costs: refused as a bad file, or written and read again to the same text.
#include "plan_file.hpp"

#include "fuzz_input.hpp"
#include "plan_costs.hpp"
#include "qjl/error.hpp"

using namespace qjl::engine;

namespace {

template <typename Read, typename Write>
void read_and_write(std::string_view text, const Read& read, const Write& write) {
  try {
    const std::string written = write(read(text, "fuzz"));
    qjl_fuzz::require(write(read(written, "again")) == written, "what was written reads back");
  } catch (const qjl::Error& error) {
    qjl_fuzz::require(error.kind() == qjl::ErrorKind::bad_file, "a bad text is a bad file");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_and_write(text, read_plan, plan_json);
  read_and_write(text, read_costs, costs_json);
  return 0;
}
