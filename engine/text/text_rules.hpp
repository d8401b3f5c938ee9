// What is done to a text before its bytes or characters are merged to tokens: brought to a normal form, and cut to pieces.
//
// A GGUF file names a pre-tokenizer that stands for such rules (pretokenizer.cpp); a tokenizer.json spells them out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qjl::engine {

// A step towards the normal form of a stretch of text.
struct NormalStep {
  enum class Kind : std::uint8_t {
    nfc,               // Unicode normal form C
    replace,           // every `from` becomes `to`
    prepend,           // `to` in front
    prepend_if_other,  // the same unless it stands there
    prepend_at_start,  // the same, and only to the stretch that a whole text begins with
  };
  Kind kind;
  std::string from = {}, to = {};
};

// Cuts a piece at the matches of an expression of PCRE2.
struct CutStage {
  enum class Matches : std::uint8_t {
    apart,          // matches are pieces, what lies between too
    alone,          // matches are pieces, what lies between is dropped
    dropped,        // the other way around
    with_previous,  // a match goes with what stands before it, unless that is a match
    with_next,      // with what stands after it, likewise
    joined,         // matches that touch are one piece
  };
  std::string expression;
  Matches matches = Matches::apart;
};

struct TextRules {
  std::vector<NormalStep> normal = {};
  std::vector<NormalStep> prepared = {};  // further steps, of what lies between the tokens that the normal form has (Metaspace)
  std::vector<CutStage> cuts = {};
  bool ignore_merges = false;  // a whole piece that is in the vocabulary is one token
  // A character that has no token: this one, once for a run of them where they are fused; -1: left out.
  std::int32_t unknown = -1;
  bool fuses_unknown = false;
};

// The normal form of valid UTF-8; at_start: the stretch begins its text. Linear.
std::string to_normal_form(const std::vector<NormalStep>& steps, std::string text, bool at_start);

}  // namespace qjl::engine
