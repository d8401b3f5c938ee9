// Tokenizer: special tokens are cut out first, longest at the leftmost place, with the white space that belongs to them; what lies
// between goes to BPE or SPM.
//
// A special token counts only where all its bytes lie in text that may be parsed; user-defined tokens count everywhere.
// A bound between two texts that are encoded together is no bound for the words: a template and the user's text give the same
// tokens as the whole string does.
#include "tokenizer.hpp"

#include <algorithm>
#include <optional>

#include "bpe.hpp"
#include "byte_alphabet.hpp"
#include "qjl/error.hpp"
#include "special_tokens.hpp"
#include "spm.hpp"
#include "utf8.hpp"

namespace qjl::engine {
namespace {

using Type = TokenizerData::Type;

constexpr std::size_t kLongestText = std::size_t{1} << 30;  // symbol positions are 32-bit, and U+2581 triples a space

std::string spm_piece(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t at = text.find(kSpmSpace);
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) break;
    out += ' ';
    text.remove_prefix(at + kSpmSpace.size());
  }
  return out;
}

std::string piece_of(const TokenizerData& data, std::size_t token) {
  const std::string& text = data.tokens[token];
  const bool spm = data.model != TokenizerData::Model::bpe;  // U+2581 for a space
  switch (data.types[token]) {
    case Type::control:
    case Type::unknown: return {};
    case Type::byte: {
      const int byte = spm_byte(text);
      return byte < 0 ? std::string() : std::string(1, static_cast<char>(byte));
    }
    case Type::user_defined: return spm ? spm_piece(text) : text;
    case Type::normal:
    case Type::unused: break;
  }
  return spm ? spm_piece(text) : from_alphabet(text);
}

std::size_t index_of(const Tokenizer& tokenizer, Token token) {
  if (token < 0 || token >= tokenizer.vocab_size()) {
    throw Error(ErrorKind::invalid_argument,
                "[decode] found token " + std::to_string(token) + ", wanted 0 to " + std::to_string(tokenizer.vocab_size() - 1));
  }
  return static_cast<std::size_t>(token);
}

// Where a piece ends in the joined text, and where the run of parsed pieces that it belongs to ends (0: not parsed).
struct Stretch {
  std::size_t end, parse_end;
};

std::vector<Stretch> make_stretches(std::span<const Tokenizer::TextPiece> pieces) {
  std::vector<Stretch> stretches;
  std::size_t end = 0;
  for (const Tokenizer::TextPiece& piece : pieces) stretches.push_back({end += piece.text.size(), 0});
  std::size_t run_end = 0;
  for (std::size_t i = pieces.size(); i-- > 0;) {
    if (pieces[i].special == Tokenizer::Special::text) {
      run_end = 0;
    } else {
      if (run_end == 0) run_end = stretches[i].end;
      stretches[i].parse_end = run_end;
    }
  }
  return stretches;
}

}  // namespace

struct Tokenizer::State {
  TokenizerData data;
  Vocabulary vocabulary;
  SpecialTokens always, parsed;
  std::optional<Bpe> bpe;
  std::optional<Spm> spm;
  std::vector<std::string> pieces;

  explicit State(TokenizerData given)
      : data(std::move(given)),
        vocabulary(make_vocabulary(data)),
        always(data, {Type::user_defined}),
        parsed(data, {Type::user_defined, Type::control, Type::unknown}) {
    if (data.model != TokenizerData::Model::spm) {
      bpe.emplace(data, vocabulary);
      if (const std::size_t unknown = bpe->num_unknown_merges(); unknown > 0) {
        data.warnings.push_back(std::to_string(unknown) + " merges have sides or products outside the vocabulary: left out");
      }
    } else {
      spm.emplace(data, vocabulary);
    }
    pieces.reserve(data.tokens.size());
    for (std::size_t token = 0; token < data.tokens.size(); ++token) pieces.push_back(piece_of(data, token));
  }

  void encode_plain(std::string_view text, bool at_start, std::vector<Token>& out) const {
    if (bpe) bpe->encode(text, at_start, out);
    if (spm) spm->encode(text, out);
  }

  // The special token at the start of `text`; its first `parse_bytes` bytes may be parsed.
  SpecialTokens::Match special_at(std::string_view text, std::size_t parse_bytes) const {
    const SpecialTokens::Match anywhere = always.longest_at_start(text);
    const SpecialTokens::Match here = parsed.longest_at_start(text.substr(0, parse_bytes));
    return here.bytes > anywhere.bytes ? here : anywhere;
  }
};

Tokenizer::Tokenizer(TokenizerData data) {
  check_tokenizer_data(data);
  state_ = std::make_unique<State>(std::move(data));
}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

const TokenizerData& Tokenizer::data() const { return state_->data; }
std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(state_->data.tokens.size()); }

std::vector<Token> Tokenizer::encode(std::string_view text, Special special) const {
  const TextPiece piece{std::string(text), special};
  return encode(std::span<const TextPiece>(&piece, 1));
}

std::vector<Token> Tokenizer::encode(std::span<const TextPiece> pieces) const {
  std::string text;
  for (const TextPiece& piece : pieces) text += piece.text;
  if (text.size() > kLongestText) {
    throw Error(ErrorKind::invalid_argument, "[encode] found a text of " + std::to_string(text.size()) + " bytes, wanted at most " +
                                                 std::to_string(kLongestText));
  }
  const std::vector<Stretch> stretches = make_stretches(pieces);
  auto stretch = stretches.begin();
  std::vector<Token> out;
  std::size_t plain = 0;  // start of the text that awaits encoding
  std::size_t at = 0;
  while (at < text.size()) {
    while (stretch->end <= at) ++stretch;
    const std::size_t parse_bytes = stretch->parse_end > at ? stretch->parse_end - at : 0;
    const SpecialTokens::Match match = state_->special_at(std::string_view(text).substr(at), parse_bytes);
    if (match.bytes == 0) {
      ++at;
      continue;
    }
    std::string_view before = std::string_view(text).substr(plain, at - plain);
    const TokenizerData::Added* added = find_added(state_->data, match.token);
    if (added != nullptr && added->strips_left) before.remove_suffix(white_space_at_end(before));
    state_->encode_plain(before, plain == 0, out);
    out.push_back(match.token);
    at += match.bytes;
    if (added != nullptr && added->strips_right) at += white_space_at_start(std::string_view(text).substr(at));
    plain = at;
  }
  state_->encode_plain(std::string_view(text).substr(plain), plain == 0, out);
  return out;
}

std::string_view Tokenizer::piece(Token token) const { return state_->pieces[index_of(*this, token)]; }

std::string_view Tokenizer::special_piece(Token token) const {
  const std::size_t index = index_of(*this, token);
  const Type type = state_->data.types[index];
  return type == Type::control || type == Type::unknown ? std::string_view(state_->data.tokens[index]) : std::string_view();
}

std::string Tokenizer::decode(std::span<const Token> tokens) const {
  std::string out;
  for (const Token token : tokens) out += piece(token);
  return out;
}

bool Tokenizer::is_end_of_generation(Token token) const {
  const std::vector<Token>& ends = state_->data.end_of_generation;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

Token Tokenizer::find(std::string_view token_text) const { return find_token(state_->vocabulary, token_text); }

std::string Utf8Stream::feed(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::size_t at = 0;
  while (at < pending_.size()) {
    const Utf8Step step = utf8_step(std::string_view(pending_).substr(at));
    if (step.kind == Utf8Kind::incomplete) break;
    out += step.kind == Utf8Kind::character ? std::string_view(pending_).substr(at, step.bytes) : kReplacement;
    at += step.bytes;
  }
  pending_.erase(0, at);
  return out;
}

std::string Utf8Stream::finish() {
  const bool cut = !pending_.empty();
  pending_.clear();
  return cut ? std::string(kReplacement) : std::string();
}

}  // namespace qjl::engine
