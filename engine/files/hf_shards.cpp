// open_hf_weights: a file is opened once; the index is believed as far as the files bear it out.
#include "hf_shards.hpp"

#include <set>

#include "printable.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char *kWhole = "model.safetensors", *kIndex = "model.safetensors.index.json";

// A name in the folder itself: an index must not lead elsewhere.
bool is_plain(const std::string& name) {
  return name.ends_with(".safetensors") && name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos && name[0] != '.';
}

void add_file(const fs::path& path, HfWeights& weights) {
  weights.maps.push_back(std::make_unique<MappedFile>(path));
  for (SafeTensor& tensor : parse_safetensors(weights.maps.back()->bytes(), path.string()))
    weights.tensors.push_back(std::move(tensor));
}

}  // namespace

std::map<std::string, std::string> parse_shard_index(std::string_view text, const std::string& name) {
  const FileJson json = parse_json_object(text, name);
  const FileJson* map = find_json(json, "weight_map");
  if (map == nullptr || !map->is_object() || map->empty()) {
    refuse_json(name, map == nullptr ? "no weight_map" : json_text(*map) + " as weight_map",
                "an object of tensors and their files");
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain(file.get_ref<const std::string&>()))
      refuse_json(name, "tensor " + printable(tensor) + " in " + json_text(file), "the name of a .safetensors file of the folder");
    files.emplace(tensor, file.get<std::string>());
  }
  return files;
}

HfWeights open_hf_weights(const fs::path& folder) {
  HfWeights weights;
  if (fs::exists(folder / kWhole)) {
    add_file(folder / kWhole, weights);
    return weights;
  }
  const fs::path index = folder / kIndex;
  if (!fs::exists(index)) {
    throw Error(ErrorKind::io, "[open] " + folder.string() + ": found neither " + kWhole + " nor " + kIndex +
                                   (fs::exists(folder / "pytorch_model.bin") ? " (pytorch_model.bin is not read)" : "") +
                                   ", wanted one of them");
  }
  const MappedFile file(index);
  const std::map<std::string, std::string> wanted =
      parse_shard_index({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, index.string());
  std::set<std::string> names;
  for (const auto& [tensor, name] : wanted) names.insert(name);
  std::map<std::string, std::string> found;
  for (const std::string& name : names) {
    const std::size_t before = weights.tensors.size();
    add_file(folder / name, weights);
    for (std::size_t i = before; i < weights.tensors.size(); ++i) found.emplace(weights.tensors[i].name, name);
  }
  for (const auto& [tensor, name] : wanted) {
    const auto at = found.find(tensor);
    if (at == found.end() || at->second != name)
      refuse_json((folder / name).string(), "no tensor " + printable(tensor), "it, as " + std::string(kIndex) + " says");
  }
  return weights;
}

}  // namespace qjl::engine
