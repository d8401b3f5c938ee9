// Model::forward: layer by layer over all rows, block by block inside a layer.
//
//   per layer:  q, k, v = rope(norm?(W x + b)), x = rmsnorm(h)                       blocks of rows
//               o = attend(q; cached keys and values, then k and v), gated?          all rows at once
//               k and v are appended to the cache and forgotten
//               or, in a layer that keeps a state, the branch of delta_net.hpp       blocks of rows
//               h += norm?(Wo o);  h += norm?(feed_forward(x))                       blocks of rows
//
// States are taken further in memory of the pass and become those of the sequences when all else has come to be.
// What differs between families is asked of the config (engine/models/architecture.hpp), never of a name.
// Memory: hidden, q, k, v, o of all rows; everything wider (feed-forward, logits) for one block only.
#include <algorithm>
#include <cmath>
#include <string>

#include "forward_pass.hpp"
#include "logits.hpp"
#include "qjl/error.hpp"
#include "rope.hpp"
#include "rows.hpp"

namespace qjl::engine {
namespace {

// Whether keys of a cache stand in the other order of channels; all its layers that turn have one kind of pairs.
bool has_other_pairs(const CacheConfig& cache, bool interleaved) {
  const auto turns = [](const KeyRope& rope) { return !rope.frequency.empty(); };
  const std::span<const KeyRope> ropes =
      cache.layer_ropes.empty() ? std::span(&cache.codec.rope, 1) : std::span<const KeyRope>(cache.layer_ropes);
  const auto first = std::ranges::find_if(ropes, turns);
  return first != ropes.end() && (first->pairs == KeyRope::Pairs::interleaved) != interleaved;
}

}  // namespace

ForwardPass::ForwardPass(LoadedModel& model, KvCache& cache, std::span<const ForwardItem> items, const ForwardOptions& options,
                         ThreadPool& threads)
    : config_(model.config),
      weights_(model.weights),
      s_(model.scratch),
      ropes_(model.ropes),
      ops_(row_ops()),
      feed_forward_(config_, options.arithmetic, s_.feed_forward, s_.products, threads),
      delta_net_(config_, options.arithmetic, s_.delta, s_.products, threads),
      cache_(cache),
      items_(items),
      options_(options),
      threads_(threads),
      reorders_(has_other_pairs(cache.config(), config_.layers.front().rope.interleaved)),
      query_width_(std::int64_t{config_.num_heads} * config_.head_dim),
      key_width_(std::int64_t{config_.num_kv_heads} * config_.head_dim),
      gate_width_(config_.family->gates_attention ? std::int64_t{config_.num_heads} * config_.key_dim : 0),
      is_padded_(config_.key_dim != config_.head_dim || config_.value_dim != config_.head_dim) {}

void ForwardPass::check_item(std::size_t i) const {
  const auto refuse = [i](const std::string& text) {
    throw Error(ErrorKind::invalid_argument, "[forward] item " + std::to_string(i) + " " + text);
  };
  if (items_[i].tokens.empty()) refuse("has 0 tokens, wanted at least 1");
  for (std::size_t j = 0; j < i; ++j) {
    if (items_[j].sequence == items_[i].sequence)
      refuse("has the sequence of item " + std::to_string(j) + ", wanted each sequence once");
  }
  const std::int64_t held = s_.first_position[i], told = cache_.recurrent_tokens(items_[i].sequence);
  if (config_.recurrent_numbers() > 0 && told != held)
    refuse("has a recurrent state after " + std::to_string(told) + " tokens, wanted one after the " + std::to_string(held) +
           " it holds");
  for (const Token token : items_[i].tokens) {
    if (token < 0 || token >= config_.vocab_size) {
      refuse("has token " + std::to_string(token) + ", wanted 0 to " + std::to_string(config_.vocab_size - 1));
    }
  }
}

void ForwardPass::prepare() {
  const CacheConfig& shape = cache_.config();
  const int layers = config_.num_cached_layers();
  if (shape.num_layers != layers || shape.num_kv_heads != config_.num_kv_heads || shape.head_dim != config_.head_dim ||
      shape.recurrent_numbers != config_.recurrent_numbers()) {
    const auto text = [](int count, int heads, int dim, std::int64_t state) {
      return std::to_string(count) + " layers, " + std::to_string(heads) + " kv heads, head_dim " + std::to_string(dim) +
             (state > 0 ? ", " + std::to_string(state) + " recurrent numbers" : "");
    };
    throw Error(ErrorKind::invalid_argument,
                "[forward] the cache has " + text(shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.recurrent_numbers) +
                    ", wanted " + text(layers, config_.num_kv_heads, config_.head_dim, config_.recurrent_numbers()));
  }
  s_.first_row.clear();
  s_.first_position.clear();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    s_.first_row.push_back(rows_);
    s_.first_position.push_back(cache_.num_tokens(items_[i].sequence));
    check_item(i);
    rows_ += tokens(i);
  }
  prompts_only_ = std::ranges::all_of(s_.first_position, [](std::int64_t position) { return position == 0; });
  has_kinds_ = std::ranges::any_of(items_, [](const ForwardItem& item) { return item.rows != RowKind::by_count; });
  make_blocks();
  if (config_.recurrent_numbers() > 0) s_.states.resize(std::max(s_.states.size(), items_.size()));
  for (std::size_t i = 0; config_.recurrent_numbers() > 0 && i < items_.size(); ++i) {
    const std::span<const float> state = cache_.recurrent_state(items_[i].sequence);
    s_.states[i].assign(state.begin(), state.end());
    s_.states[i].resize(static_cast<std::size_t>(config_.recurrent_numbers()));  // of a new sequence: zeros
  }
  for (std::size_t i = 0; i < items_.size(); ++i) cache_.reserve(items_[i].sequence, s_.first_position[i] + tokens(i));
}

// Neighbours of one kind share blocks. A prompt has its own: oneDNN may round a row by how many others there are.
void ForwardPass::make_blocks() {
  s_.blocks.clear();
  for (std::size_t i = 0, end = 0; i < items_.size(); i = end) {
    const RowKind kind = items_[i].rows;
    for (end = i + 1; end < items_.size() && items_[end].rows == kind && kind != RowKind::prompt;) ++end;
    const std::int64_t last = end < items_.size() ? s_.first_row[end] : rows_;
    for (std::int64_t begin = s_.first_row[i]; begin < last; begin += kBlockTokens) {
      s_.blocks.push_back({begin, std::min(begin + kBlockTokens, last), kind});
    }
  }
}

void ForwardPass::embed() {
  grow(s_.hidden, rows_ * config_.hidden);
  grow(s_.angles, rows_ * ropes_.num_angles());
  if (config_.query_growth.rate != 0.0f) grow(s_.query_scale, rows_);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    for_rows(0, tokens(i), threads_, [&](std::int64_t t) {
      const std::int64_t row = s_.first_row[i] + t;
      float* hidden = hidden_row(row);
      weights_.embedding.decode_row(items_[i].tokens[static_cast<std::size_t>(t)], hidden);
      for (std::int64_t c = 0; config_.embedding_scale != 1.0f && c < config_.hidden; ++c) hidden[c] *= config_.embedding_scale;
      for (const ModelRopes::Rope& rope : ropes_.distinct()) {
        rope_angles(rope.frequencies, s_.first_position[i] + t, s_.angles.data() + row * ropes_.num_angles() + rope.first_angle,
                    rope.config.magnitude);
      }
      if (const QueryGrowth& growth = config_.query_growth; growth.rate != 0.0f) {
        const double stretches = std::floor(static_cast<double>(s_.first_position[i] + t) / growth.length);
        s_.query_scale[static_cast<std::size_t>(row)] = static_cast<float>(1.0 + growth.rate * std::log1p(stretches));
      }
    });
  }
}

// Biases, head norms and rotation of one row; then its heads as wide as the cache's.
void ForwardPass::finish_row(int layer_idx, std::int64_t row) const {
  const int head_dim = config_.key_dim;
  const LayerWeights& layer = layer_weights(layer_idx);
  const ModelRopes::Rope& rope = ropes_.of_layer(layer_idx);
  const float* angles = s_.angles.data() + row * ropes_.num_angles() + rope.first_angle;
  const auto finish = [&](float* x, int heads, const std::vector<float>& bias, const std::vector<float>& norm) {
    if (!bias.empty()) ops_.add(x, bias.data(), std::ssize(bias));
    for (std::int64_t i = 0; !norm.empty() && i < heads * head_dim; i += std::ssize(norm)) {  // of a head, or of all
      ops_.rms_norm(x + i, norm.data(), config_.norm_epsilon, std::ssize(norm), x + i);
    }
    rope_rotate(rope.config, angles, heads, head_dim, x);
    if (reorders_) rope_reorder(rope.config, heads, head_dim, x);
  };
  float* query = s_.query.data() + row * query_width_;
  float* key = s_.key.data() + row * key_width_;
  float* value = s_.value.data() + row * key_width_;
  finish(query, config_.num_heads, layer.query_bias, layer.query_norm);
  finish(key, config_.num_kv_heads, layer.key_bias, layer.key_norm);
  if (!layer.value_bias.empty()) ops_.add(value, layer.value_bias.data(), std::ssize(layer.value_bias));
  if (config_.query_growth.rate != 0.0f) ops_.scale(query, s_.query_scale[static_cast<std::size_t>(row)], query_width_);
  if (!is_padded_) return;
  widen_heads(query, config_.num_heads, config_.key_dim, config_.head_dim);
  widen_heads(key, config_.num_kv_heads, config_.key_dim, config_.head_dim);
  widen_heads(value, config_.num_kv_heads, config_.value_dim, config_.head_dim);
}

// norm(h), or h where there is no norm before the branch.
void ForwardPass::normalise(std::int64_t row, const std::vector<float>& norm, float* out) const {
  if (norm.empty()) {
    std::copy_n(hidden_row(row), config_.hidden, out);
  } else {
    ops_.rms_norm(hidden_row(row), norm.data(), config_.norm_epsilon, config_.hidden, out);
  }
}

void ForwardPass::project_block(int layer_idx, const RowStretch& block) {
  const LayerWeights& layer = layer_weights(layer_idx);
  const std::int64_t begin = block.begin, end = block.end;
  for_rows(begin, end, threads_,
           [&](std::int64_t row) { normalise(row, layer.attention_norm, s_.normed.data() + (row - begin) * config_.hidden); });
  const bool is_gated = gate_width_ > 0;
  float* query = is_gated ? s_.gated_query.data() : s_.query.data() + begin * query_width_;
  const Product products[] = {{&layer.query, query, is_gated ? 2 * gate_width_ : query_width_},
                              {&layer.key, s_.key.data() + begin * key_width_, key_width_},
                              {&layer.value, s_.value.data() + begin * key_width_, key_width_}};
  multiply(products, {s_.normed.data(), end - begin, config_.hidden}, layer.output, block.kind);
  for_rows(begin, end, threads_, [&](std::int64_t row) {
    if (is_gated) take_gate(query + (row - begin) * 2 * gate_width_, row);
    finish_row(layer_idx, row);
  });
}

// Of each head: a query, then its gate.
void ForwardPass::take_gate(const float* both, std::int64_t row) const {
  const std::int64_t dim = config_.key_dim;
  float *query = s_.query.data() + row * query_width_, *gate = s_.gates.data() + row * gate_width_;
  for (std::int64_t at = 0; at < gate_width_; at += dim) {
    std::copy_n(both + 2 * at, dim, query + at);
    std::copy_n(both + 2 * at + dim, dim, gate + at);
  }
}

// A layer that keeps a state, which stands at `state_at` of an item's.
void ForwardPass::mix_block(const LayerWeights& layer, std::int64_t state_at, const RowStretch& block) {
  for_rows(block.begin, block.end, threads_, [&](std::int64_t row) {
    normalise(row, layer.attention_norm, s_.normed.data() + (row - block.begin) * config_.hidden);
  });
  s_.parts.clear();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const std::int64_t first = std::max(s_.first_row[i], block.begin), last = std::min(s_.first_row[i] + tokens(i), block.end);
    if (first < last) s_.parts.push_back({s_.states[i].data() + state_at, first - block.begin, last - first});
  }
  delta_net_.run(layer.delta, s_.parts, {s_.normed.data(), block.end - block.begin, block.kind}, after_branch(layer),
                 s_.projected.data());
  finish_branch(layer, block);
}

AttendOptions ForwardPass::attend_options(int layer_idx) const {
  AttendOptions options;
  options.softmax_scale = config_.attention_scale;
  options.logit_soft_cap = config_.attention_soft_cap;
  options.sliding_window = config_.layers[static_cast<std::size_t>(layer_idx)].window;
  if ((prompts_only_ || has_kinds_) && options_.arithmetic == Arithmetic::fast) options.chunk_products = ChunkProducts::bf16;
  if (has_kinds_) {
    options.chunk_products_from = 2;  // a decode row is one token
    options.cut = AttendCut::by_request;
  }
  return options;
}

// Of rows on the host; the caller names the device of others.
AttendRequest ForwardPass::layer_request(std::size_t item, const LayerRows& rows) const {
  const int heads = config_.num_heads, kv_heads = config_.num_kv_heads, head_dim = config_.head_dim;
  const std::int64_t row = s_.first_row[item], n = tokens(item);
  AttendRequest request;
  request.sequence = items_[item].sequence;
  request.queries = TensorView::token_major(rows.query + row * query_width_, DType::f32, heads, n, head_dim, query_width_);
  request.chunk_keys = TensorView::token_major(rows.key + row * key_width_, DType::f32, kv_heads, n, head_dim, key_width_);
  request.chunk_values = TensorView::token_major(rows.value + row * key_width_, DType::f32, kv_heads, n, head_dim, key_width_);
  request.out = OutputView::token_major(rows.attended + row * query_width_, heads, n, head_dim, query_width_);
  if (rows.lse != nullptr) request.lse = rows.lse + row * heads;
  return request;
}

void ForwardPass::observe(int cached_idx, const LayerRows& rows) const {
  if (!options_.observe_queries && !options_.observe_kv) return;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const AttendRequest request = layer_request(i, rows);
    if (options_.observe_queries) options_.observe_queries(cached_idx, i, request.queries);
    if (options_.observe_kv) options_.observe_kv(cached_idx, i, request.chunk_keys, request.chunk_values);
  }
}

void ForwardPass::attend_and_append(int layer_idx, int cached_idx) {
  const Device device = cache_.device();
  const bool is_here = device == Device::cpu();
  const LayerWeights& layer = layer_weights(layer_idx);
  const LayerRows host{s_.query.data(), s_.key.data(), s_.value.data(), s_.attended.data(),
                       layer.sink_logits.empty() ? nullptr : s_.lse.data()};
  const LayerNumbers numbers{rows_ * query_width_, rows_ * key_width_, rows_ * config_.num_heads};
  const LayerRows rows = is_here ? host : s_.on_device.bring(device, host, numbers);
  const Queue queue = is_here ? Queue(threads_) : Queue();
  s_.requests.clear();
  for (std::size_t i = 0; i < items_.size(); ++i) {
    AttendRequest& request = s_.requests.emplace_back(layer_request(i, rows));
    request.queries.device = request.chunk_keys.device = request.chunk_values.device = request.out.device = device;
  }
  attend(cache_, cached_idx, s_.requests, attend_options(layer_idx), s_.attend, queue);
  observe(cached_idx, host);
  for (const AttendRequest& request : s_.requests) {
    cache_.append(request.sequence, cached_idx, request.chunk_keys, request.chunk_values, queue);
  }
  if (!is_here) {
    s_.on_device.take_back(host, numbers);
    cache_.wait(queue);  // tells of numbers that do not fit
  }
  const bool is_unfinished = is_padded_ || gate_width_ > 0 || !layer.sink_logits.empty();
  for (std::size_t i = 0; is_unfinished && i < items_.size(); ++i) {
    for_rows(0, tokens(i), threads_, [&](std::int64_t t) { finish_attended(layer, i, t); });
  }
}

// Of one token: a sink is a logit without a value, so it takes its share of the weights and leaves the rest,
// out * e^lse / (e^lse + e^sink). Then heads as wide as the model's, times the sigmoid of their gates.
void ForwardPass::finish_attended(const LayerWeights& layer, std::size_t item, std::int64_t token) const {
  const std::int64_t row = s_.first_row[item] + token;
  float* out = s_.attended.data() + row * query_width_;
  const float* lse = s_.lse.data() + s_.first_row[item] * config_.num_heads;  // [heads, tokens]
  for (std::size_t h = 0; h < layer.sink_logits.size(); ++h) {
    const float share = 1.0f / (1.0f + std::exp(layer.sink_logits[h] - lse[static_cast<std::int64_t>(h) * tokens(item) + token]));
    ops_.scale(out + static_cast<std::int64_t>(h) * config_.head_dim, share, config_.head_dim);
  }
  if (is_padded_) narrow_heads(out, config_.num_heads, config_.value_dim, config_.head_dim);
  const float* gate = s_.gates.data() + row * gate_width_;
  for (std::int64_t c = 0; c < gate_width_; ++c) out[c] /= 1.0f + std::exp(-gate[c]);
}

// h += scale norm?(branch + bias), one row.
void ForwardPass::join_row(std::int64_t row, float* branch, const std::vector<float>& bias, const std::vector<float>& norm) const {
  if (!bias.empty()) ops_.add(branch, bias.data(), config_.hidden);
  if (!norm.empty()) ops_.rms_norm(branch, norm.data(), config_.norm_epsilon, config_.hidden, branch);
  if (config_.residual_scale != 1.0f) ops_.scale(branch, config_.residual_scale, config_.hidden);
  ops_.add(hidden_row(row), branch, config_.hidden);
}

void ForwardPass::finish_block(const LayerWeights& layer, const RowStretch& block) {
  const Product output{&layer.output, s_.projected.data(), config_.hidden};
  multiply({&output, 1}, {s_.attended.data() + block.begin * query_width_, block.end - block.begin, query_width_},
           after_branch(layer), block.kind);
  finish_branch(layer, block);
}

// What the projected rows of a block become: part of the hidden rows, then the feed-forward part.
void ForwardPass::finish_branch(const LayerWeights& layer, const RowStretch& block) {
  const std::int64_t begin = block.begin, n = block.end - begin, hidden = config_.hidden;
  for_rows(0, n, threads_, [&](std::int64_t t) {
    join_row(begin + t, s_.projected.data() + t * hidden, layer.output_bias, layer.post_attention_norm);
    normalise(begin + t, layer.feed_forward_norm, s_.normed.data() + t * hidden);
  });
  feed_forward_.run(layer, s_.normed.data(), n, block.kind, after(layer), s_.projected.data());
  for_rows(0, n, threads_,
           [&](std::int64_t t) { join_row(begin + t, s_.projected.data() + t * hidden, {}, layer.post_feed_forward_norm); });
}

void ForwardPass::run() {
  const std::int64_t block = std::min(rows_, kBlockTokens);
  for (std::vector<float>* buffer : {&s_.query, &s_.attended}) grow(*buffer, rows_ * query_width_);
  for (std::vector<float>* buffer : {&s_.key, &s_.value}) grow(*buffer, rows_ * key_width_);
  for (std::vector<float>* buffer : {&s_.normed, &s_.projected}) grow(*buffer, block * config_.hidden);
  grow(s_.lse, rows_ * config_.num_heads);
  grow(s_.gates, rows_ * gate_width_);
  grow(s_.gated_query, block * 2 * gate_width_);
  embed();
  int cached_idx = 0;
  for (int l = 0; l < config_.num_layers; ++l) {
    const LayerWeights& layer = layer_weights(l);
    if (layer.keeps_state()) {
      const std::int64_t state_at = (l - cached_idx) * config_.delta.state_numbers();
      for (const RowStretch& rows : s_.blocks) mix_block(layer, state_at, rows);
      continue;
    }
    for (const RowStretch& rows : s_.blocks) project_block(l, rows);
    attend_and_append(l, cached_idx++);
    for (const RowStretch& rows : s_.blocks) finish_block(layer, rows);
  }
}

void ForwardPass::keep_states() {
  for (std::size_t i = 0; config_.recurrent_numbers() > 0 && i < items_.size(); ++i)
    cache_.set_recurrent_state(items_[i].sequence, s_.states[i]);
}

void ForwardPass::undo() noexcept {
  for (std::size_t i = 0; i < s_.first_position.size(); ++i) {
    try {
      cache_.truncate(items_[i].sequence, s_.first_position[i]);
    } catch (...) {  // the first error is the one to report; num_tokens(), the shortest layer's, is right even so
    }
  }
}

std::span<const float> Model::forward(KvCache& cache, std::span<const ForwardItem> items, const ForwardOptions& options,
                                      ThreadPool& threads) {
  if (items.empty()) return {};
  prepare(options.arithmetic, threads);
  ForwardPass pass(*state_, cache, items, options, threads);
  pass.prepare();
  std::span<const float> logits;
  try {
    pass.run();
    logits = LogitPass(*state_, items, options, threads).run();
    pass.keep_states();
  } catch (...) {
    pass.undo();
    throw;
  }
  ForwardScratch& scratch = state_->scratch;
  scratch.peak_bytes = std::max(scratch.peak_bytes, scratch.bytes());
  std::int64_t rows = 0;
  for (const ForwardItem& item : items) rows += std::ssize(item.tokens);
  if (rows > kBlockTokens) scratch.release();
  return logits;
}

}  // namespace qjl::engine
