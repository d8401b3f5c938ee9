// choose_codes: the cheapest damage within a budget, by dynamic programming over bytes.
#include "plan_search.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "qjl/codec.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

using Codes = std::pair<Code, Code>;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::invalid_argument, "[plan] " + text); }

// One way to code a layer.
struct Choice {
  Codes codes;
  std::int64_t bytes = 0;
  double kld = 0;
};

// Every pair of codes of a layer, without those that another pair beats in both bytes and damage; rising bytes, falling damage.
std::vector<Choice> choices_of(const LayerDamages& layer, int head_dim) {
  static const auto cheaper = [](const Choice& a, const Choice& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.kld < b.kld;
  };
  std::vector<Choice> all, useful;
  for (const CodeDamage& key : layer.keys) {
    for (const CodeDamage& value : layer.values) {
      const Codes codes{key.code, value.code};
      all.push_back({codes, page_bytes(head_dim, codes), key.kld + value.kld});
    }
  }
  if (all.empty()) refuse("found a layer without codes to choose from, wanted one on each side at least");
  std::sort(all.begin(), all.end(), cheaper);
  for (const Choice& choice : all) {
    if (useful.empty() || choice.kld < useful.back().kld) useful.push_back(choice);
  }
  return useful;
}

// What one layer may take above its smallest choice, in units of `unit` bytes.
struct Table {
  std::vector<double> best;         // [units]: least damage of the layers so far within so many units
  std::vector<std::uint16_t> pick;  // [units]: the choice of the last layer
};

Table extend(const std::vector<double>& before, const std::vector<Choice>& choices, std::int64_t unit) {
  const auto units = std::ssize(before);
  Table table{std::vector<double>(before.size(), std::numeric_limits<double>::infinity()),
              std::vector<std::uint16_t>(before.size())};
  for (std::size_t c = 0; c < choices.size(); ++c) {
    const std::int64_t taken = (choices[c].bytes - choices[0].bytes) / unit;
    for (std::int64_t u = taken; u < units; ++u) {
      const double kld = before[static_cast<std::size_t>(u - taken)] + choices[c].kld;
      if (kld >= table.best[static_cast<std::size_t>(u)]) continue;
      table.best[static_cast<std::size_t>(u)] = kld;
      table.pick[static_cast<std::size_t>(u)] = static_cast<std::uint16_t>(c);
    }
  }
  return table;
}

const CodeDamage& damage_of(const std::vector<CodeDamage>& side, Code code) {
  const auto found = std::find_if(side.begin(), side.end(), [code](const CodeDamage& d) { return d.code == code; });
  if (found == side.end()) refuse("code " + std::string(code_name(code)) + " was not measured");
  return *found;
}

}  // namespace

std::int64_t page_bytes(int head_dim, Codes codes) {
  static std::map<std::pair<int, Codes>, std::int64_t> known;  // a codec makes its frames: milliseconds
  auto [entry, is_new] = known.try_emplace({head_dim, codes}, 0);
  if (is_new) {
    CodecConfig codec;
    std::tie(codec.key_code, codec.value_code) = codes;
    entry->second = PageCodec(head_dim, codec).page_bytes();
  }
  return entry->second;
}

std::vector<Codes> choose_codes(const std::vector<LayerDamages>& layers, int head_dim, std::int64_t budget_bytes) {
  std::vector<std::vector<Choice>> choices;
  std::int64_t least = 0, most = 0, unit = 0;
  for (const LayerDamages& layer : layers) {
    choices.push_back(choices_of(layer, head_dim));
    least += choices.back().front().bytes;
    most += choices.back().back().bytes;
    for (const Choice& choice : choices.back()) unit = std::gcd(unit, choice.bytes - choices.back().front().bytes);
  }
  if (least > budget_bytes) {
    refuse("the budget is " + std::to_string(budget_bytes) + " bytes for a page of all layers, wanted " + std::to_string(least) +
           " or more");
  }
  unit = std::max<std::int64_t>(unit, 1);
  const auto units = static_cast<std::size_t>((std::min(budget_bytes, most) - least) / unit + 1);
  std::vector<double> best(units, 0.0);
  std::vector<std::vector<std::uint16_t>> picks;
  for (const auto& layer : choices) {
    Table table = extend(best, layer, unit);
    best = std::move(table.best);
    picks.push_back(std::move(table.pick));
  }
  std::vector<Codes> codes(layers.size());
  std::size_t left = units - 1;
  for (std::size_t l = layers.size(); l-- > 0;) {
    const Choice& choice = choices[l][picks[l][left]];
    codes[l] = choice.codes;
    left -= static_cast<std::size_t>((choice.bytes - choices[l].front().bytes) / unit);
  }
  return codes;
}

double forecast(const std::vector<LayerDamages>& layers, const std::vector<Codes>& codes) {
  double sum = 0;
  for (std::size_t l = 0; l < layers.size(); ++l)
    sum += damage_of(layers[l].keys, codes[l].first).kld + damage_of(layers[l].values, codes[l].second).kld;
  return sum;
}

double bits_sealed(int head_dim, const std::vector<Codes>& codes) {
  std::int64_t bytes = 0;
  for (const Codes& pair : codes) bytes += page_bytes(head_dim, pair);
  return 8.0 * static_cast<double>(bytes) / (2.0 * kTokensPerPage * head_dim * static_cast<double>(codes.size()));
}

std::vector<Codes> choose_codes(const std::vector<LayerDamages>& layers, const Model& model, const CacheRoom& room) {
  if (room.context < kTokensPerPage || room.batch < 1) {
    refuse("found a batch of " + std::to_string(room.batch) + " and " + std::to_string(room.context) +
           " tokens, wanted 1 or more and 128 or more");
  }
  const ModelConfig& m = model.config();
  CacheConfig config = model.cache_config({}, room.context, room.batch);
  const std::int64_t row = 2 * 2 * std::int64_t{m.num_cached_layers()} * m.num_kv_heads * m.head_dim;  // a token in 16 bit
  const std::int64_t pages = room.context / kTokensPerPage, all_pages = pages * room.batch * m.num_kv_heads;
  // A sequence's open page, sinks and records, with room for tables that grew by doubling.
  const std::int64_t sequence =
      (kTokensPerPage + config.codec.sink_tokens) * row + 8 * pages + 64 * m.num_cached_layers() + 256 + 4 * m.recurrent_numbers();
  std::int64_t fixed = room.batch * sequence;
  std::vector<Codes> codes;
  // The tables of the codes in use count too, and which are in use is only known after the choice. Each round knows more of them.
  for (std::int64_t tables = 0, held = -1; held < tables;) {
    held = tables;
    codes = choose_codes(layers, m.head_dim, std::max<std::int64_t>(0, room.bytes - fixed - held) / all_pages);
    config.layer_codes = codes;
    tables = std::max(held, KvCache(config).memory_report().total());
  }
  return codes;
}

}  // namespace qjl::engine
