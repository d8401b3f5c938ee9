// The names of rivals and what each is made of. One table: what is written here is all that is known.
#include "rival.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <string>
#include <vector>

#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "quants.hpp"
#include "sides.hpp"

namespace qjl::engine {
namespace {

using namespace rivals;

struct Settings {
  std::uint64_t seed = kDefaultSeed;
  std::int64_t sinks = 0;
  QjlSettings qjl;
};
struct Sides {
  SidePtr keys, values;
};
using Make = Sides (*)(const Settings&, const ModelConfig&);
struct Entry {
  std::string_view name;
  Make make;
  int channels;  // that head_dim must be a multiple of
};

// Values take another stream of random numbers than keys.
std::uint64_t key_seed(const Settings& s) { return 16 * s.seed; }
std::uint64_t value_seed(const Settings& s) { return 16 * s.seed + 8; }

// The largest power of two that divides head_dim.
int hadamard_size(int head_dim) { return head_dim & -head_dim; }

template <int kBits>
Sides int_groups(const Settings&, const ModelConfig&) {
  return {min_max_per_token(kBits), min_max_per_token(kBits)};
}
template <int kBits>
Sides kivi(const Settings&, const ModelConfig&) {
  return {min_max_per_channel(kBits), min_max_per_token(kBits)};
}
template <int kBits>
Sides turbo(const Settings& s, const ModelConfig& m) {
  return {turbo_mse(kBits, m.head_dim, key_seed(s)), turbo_mse(kBits, m.head_dim, value_seed(s))};
}
template <int kBits>
Sides turbo_unbiased(const Settings& s, const ModelConfig& m) {
  return {turbo_prod(kBits, m.head_dim, key_seed(s)), turbo_mse(kBits, m.head_dim, value_seed(s))};
}
template <int kBits>
Sides kvquant(const Settings&, const ModelConfig& m) {
  return {kvquant_keys(kBits, m), kvquant_values(kBits, m)};
}

template <bool is_float>
Sides vllm_eight_bits(const Settings&, const ModelConfig& m) {
  return {eight_bits_per_token(m.head_dim, is_float), eight_bits_per_token(m.head_dim, is_float)};
}

Sides qjl_paper(const Settings& s, const ModelConfig& m) {
  QjlSettings settings = s.qjl;
  settings.seed = key_seed(s);
  if (settings.rows == 0) settings.rows = 3 * m.head_dim;
  if (settings.outlier_channels > 0) settings.outliers = QjlSettings::Outliers::per_prompt;
  if (settings.outlier_channels > 0 && settings.outlier_rows == 0) settings.outlier_rows = m.head_dim;
  return {qjl_keys(settings, m), min_max_per_token(2)};
}

// run_longbench.py, scaled by head_dim: 256 rows, 8 outlier channels with 256 rows; 512, 8 and 128 in the first 15 layers.
Sides qjl_released(const Settings& s, const ModelConfig& m) {
  const int d = m.head_dim;
  const QjlSettings settings{.rows = 2 * d,
                             .initial_rows = 4 * d,
                             .initial_layers = 15,
                             .orthogonal = true,
                             .outliers = QjlSettings::Outliers::per_32_tokens,
                             .outlier_channels = d / 16,
                             .outlier_rows = 2 * d,
                             .initial_outlier_rows = d,
                             .seed = key_seed(s)};
  return {qjl_keys(settings, m), min_max_per_token(2)};
}

constexpr std::array kRivals = {
    Entry{"fp8", [](const Settings&, const ModelConfig&) { return Sides{fp8_e4m3(), fp8_e4m3()}; }, 1},
    Entry{"fp8_token", vllm_eight_bits<true>, 1},
    Entry{"int8_token", vllm_eight_bits<false>, 1},
    Entry{"int4_token",
          [](const Settings& s, const ModelConfig& m) {
            return Sides{four_bits_per_token(m.head_dim, key_seed(s)), four_bits_per_token(m.head_dim, value_seed(s))};
          },
          1},
    Entry{"nvfp4", [](const Settings&, const ModelConfig&) { return Sides{nvfp4(false), nvfp4(false)}; }, 16},
    Entry{"nvfp4_4over6", [](const Settings&, const ModelConfig&) { return Sides{nvfp4(true), nvfp4(true)}; }, 16},
    Entry{"kvarn_k4v2",
          [](const Settings&, const ModelConfig& m) { return Sides{kvarn_keys(4, m.head_dim), kvarn_values(2, m.head_dim)}; }, 1},
    Entry{"q8_0", [](const Settings&, const ModelConfig&) { return Sides{ggml_q8_0(), ggml_q8_0()}; }, 32},
    Entry{"q4_0", [](const Settings&, const ModelConfig&) { return Sides{ggml_q4_0(), ggml_q4_0()}; }, 32},
    Entry{"q4_0h", [](const Settings&, const ModelConfig& m) { return Sides{ggml_q4_0(hadamard_size(m.head_dim)), ggml_q4_0(64)}; },
          64},
    Entry{"int4", int_groups<4>, 32},
    Entry{"int2", int_groups<2>, 32},
    Entry{"kivi4", kivi<4>, 32},
    Entry{"kivi2", kivi<2>, 32},
    Entry{"kvquant4", kvquant<4>, 1},
    Entry{"kvquant3", kvquant<3>, 1},
    Entry{"polar4",
          [](const Settings& s, const ModelConfig& m) {
            return Sides{polar_quant(m.head_dim, key_seed(s)), polar_quant(m.head_dim, value_seed(s))};
          },
          16},
    Entry{"tq4", turbo<4>, 1},
    Entry{"tq3", turbo<3>, 1},
    Entry{"tq2", turbo<2>, 1},
    Entry{"tqprod4", turbo_unbiased<4>, 1},
    Entry{"tqprod3", turbo_unbiased<3>, 1},
    Entry{"qjl3", qjl_paper, 32},
    Entry{"qjl_repo", qjl_released, 32},
};

std::string_view plain_name(std::string_view cache_type) { return cache_type.substr(0, cache_type.find(':')); }

const Entry* find(std::string_view name) {
  const auto* entry = std::find_if(kRivals.begin(), kRivals.end(), [name](const Entry& e) { return e.name == name; });
  return entry == kRivals.end() ? nullptr : entry;
}

[[noreturn]] void refuse(std::string_view found, const std::string& wanted) {
  throw Error(ErrorKind::invalid_argument, "[cache type] found `" + std::string(found) + "`, wanted " + wanted);
}

int whole_number(std::string_view cache_type, std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) refuse(cache_type, "a whole number after `=`");
  return number;
}

void set_option(Settings& settings, std::string_view cache_type, std::string_view option) {
  const std::size_t equals = option.find('=');
  const std::string_view key = option.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view{} : option.substr(equals + 1);
  const bool is_qjl = plain_name(cache_type) == "qjl3";
  if (is_qjl && key == "sketch" && (value == "gaussian" || value == "orthogonal")) {
    settings.qjl.orthogonal = value == "orthogonal";
    return;
  }
  const int number = whole_number(cache_type, value);
  if (key == "seed") {
    settings.seed = static_cast<std::uint64_t>(number);
  } else if (key == "sinks" && number <= kTokensPerPage) {
    settings.sinks = number;
  } else if (is_qjl && key == "rows" && number > 0) {
    settings.qjl.rows = number;
  } else if (is_qjl && key == "outliers") {
    settings.qjl.outlier_channels = number;
  } else if (is_qjl && key == "outlier_rows" && number > 0) {
    settings.qjl.outlier_rows = number;
  } else {
    refuse(cache_type, "seed=N, sinks=N up to 128; with qjl3 also sketch=gaussian|orthogonal, rows=N, outliers=N, outlier_rows=N");
  }
}

Settings read_options(std::string_view cache_type) {
  Settings settings;
  std::size_t at = cache_type.find(':');
  while (at != std::string_view::npos) {
    const std::string_view rest = cache_type.substr(at + 1);
    const std::size_t comma = rest.find(',');
    set_option(settings, cache_type, rest.substr(0, comma));
    at = comma == std::string_view::npos ? comma : at + 1 + comma;
  }
  return settings;
}

// [heads, tokens, dim], contiguous, fp32.
std::vector<float> gather(const TensorView& view) {
  std::vector<float> numbers;
  numbers.reserve(static_cast<std::size_t>(view.heads * view.tokens * view.dim));
  for (std::int64_t head = 0; head < view.heads; ++head) {
    for (std::int64_t token = 0; token < view.tokens; ++token) {
      const std::int64_t at = head * view.head_stride + token * view.token_stride;
      for (std::int64_t i = at; i < at + view.dim; ++i) {
        switch (view.dtype) {
          case DType::f32: numbers.push_back(static_cast<const float*>(view.data)[i]); break;
          case DType::f16: numbers.push_back(f16_to_f32(static_cast<const std::uint16_t*>(view.data)[i])); break;
          case DType::bf16: numbers.push_back(bf16_to_f32(static_cast<const std::uint16_t*>(view.data)[i])); break;
        }
      }
    }
  }
  return numbers;
}

}  // namespace

bool is_rival(std::string_view cache_type) { return find(plain_name(cache_type)) != nullptr; }

std::string rival_names() {
  std::string names;
  for (const Entry& entry : kRivals) names += (names.empty() ? "" : ", ") + std::string(entry.name);
  return names;
}

void check_rival(std::string_view cache_type) {
  if (!is_rival(cache_type)) refuse(cache_type, "one of " + rival_names());
  read_options(cache_type);
}

Rival::Rival(std::string_view cache_type, const ModelConfig& model)
    : num_layers_(model.num_cached_layers()), num_kv_heads_(model.num_kv_heads), head_dim_(model.head_dim) {
  check_rival(cache_type);
  const Entry* entry = find(plain_name(cache_type));
  if (head_dim_ % entry->channels != 0) {
    refuse(cache_type,
           "a head_dim that is a multiple of " + std::to_string(entry->channels) + ", not " + std::to_string(head_dim_));
  }
  const Settings settings = read_options(cache_type);
  if (settings.qjl.outlier_channels > head_dim_) refuse(cache_type, "at most " + std::to_string(head_dim_) + " outlier channels");
  sinks_ = settings.sinks;
  Sides sides = entry->make(settings, model);
  keys_ = std::move(sides.keys);
  values_ = std::move(sides.values);
}

void Rival::learn(int layer, const TensorView& keys, const TensorView& values) {
  for (const bool is_key : {true, false}) {
    Side& side = is_key ? *keys_ : *values_;
    if (!side.learns()) continue;
    const TensorView& view = is_key ? keys : values;
    const std::vector<float> numbers = gather(view);
    side.learn({layer, 0, view.heads, view.tokens, view.dim, numbers});
  }
}

void Rival::code(const SealingPage& page) const {
  for (const bool is_key : {true, false}) {
    const std::span<float> numbers = is_key ? page.keys : page.values;
    const Rows rows{page.layer, page.first_position, num_kv_heads_, kTokensPerPage, head_dim_, numbers};
    const std::int64_t exact = page.first_position == 0 ? sinks_ : 0;
    std::vector<float> kept;
    for (std::int64_t head = 0; head < rows.heads; ++head) {
      for (std::int64_t token = 0; token < exact; ++token)
        kept.insert(kept.end(), rows.row(head, token).begin(), rows.row(head, token).end());
    }
    (is_key ? keys_ : values_)->code(rows);
    for (std::int64_t i = 0; i < rows.heads * exact; ++i)
      std::copy_n(kept.begin() + i * rows.dim, rows.dim, rows.row(i / exact, i % exact).begin());
  }
}

double Rival::mean_bits(const rivals::Side& side) const {
  double sum = 0;
  for (int layer = 0; layer < num_layers_; ++layer) sum += side.bits(layer);
  return sum / num_layers_;
}

}  // namespace qjl::engine
