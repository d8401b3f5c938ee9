// HfFolder: its files are read by the parts that know each; here they are kept together.
#include "hf_folder.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include "hf_config.hpp"
#include "hf_shards.hpp"
#include "hf_tensors.hpp"
#include "hf_tokenizer.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::engine {

struct HfFolder::State {
  std::filesystem::path path;
  std::string name;
  HfConfig config;
  std::vector<std::string> keys;
  HfWeights weights;
  HfTensors tensors;
  std::map<std::string, std::size_t, std::less<>> tensor_index;
};

HfFolder::HfFolder() : state_(std::make_unique<State>()) {}
HfFolder::~HfFolder() = default;
HfFolder::HfFolder(HfFolder&&) noexcept = default;
HfFolder& HfFolder::operator=(HfFolder&&) noexcept = default;

HfFolder HfFolder::open(const std::filesystem::path& folder) {
  HfFolder opened;
  State& state = *opened.state_;
  state.path = folder;
  state.name = folder.string();
  state.config = read_hf_config(read_json_object(folder / "config.json"));
  // A folder's own name is the best there is; "." and "folder/" have one too.
  const std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  state.config.values["general.name"] = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  for (const auto& [key, value] : state.config.values) state.keys.push_back(key);
  state.weights = open_hf_weights(folder);
  state.tensors = read_hf_tensors(state.weights.tensors, state.config);
  for (std::size_t i = 0; i < state.tensors.tensors.size(); ++i) {
    const std::string& name = state.tensors.tensors[i].name;
    if (!state.tensor_index.emplace(name, i).second)
      refuse_json(state.name, "two tensors that stand for " + printable(name), "one");
  }
  return opened;
}

const std::string& HfFolder::name() const { return state_->name; }
std::span<const std::string> HfFolder::keys() const { return state_->keys; }

const FileValue* HfFolder::find(std::string_view key) const {
  const auto at = state_->config.values.find(key);
  return at == state_->config.values.end() ? nullptr : &at->second;
}

std::span<const FileTensor> HfFolder::tensors() const { return state_->tensors.tensors; }

const FileTensor* HfFolder::find_tensor(std::string_view name) const {
  const auto at = state_->tensor_index.find(name);
  return at == state_->tensor_index.end() ? nullptr : &state_->tensors.tensors[at->second];
}

TokenizerData HfFolder::tokenizer_data() const {
  return read_hf_tokenizer(state_->path, {.ends = state_->config.ends, .vocab_size = state_->config.vocab_size});
}

void HfFolder::forget(std::span<const std::byte> part) const {
  for (const auto& map : state_->weights.maps) map->forget(part);
}

}  // namespace qjl::engine
