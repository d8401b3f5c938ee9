// Which beginnings of texts a cache holds: a radix tree whose edges are whole sealed pages.
//
//   node = the tokens of an edge (a multiple of 128) and a sequence of the cache that holds everything from the root to its end
//
// Tokens are compared one by one, never by a hash alone. A page lives as long as a node or a request has it: what no request has is
// idle, and goes when room is wanted, least recently used leaf first, from its end.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "qjl/cache.hpp"
#include "qjl/codec.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

// Prefixes are shared within one key: a page's bytes depend on the chunks that its tokens came in.
struct PrefixKey {
  std::string salt = {};
  std::int64_t chunk = 0;
  auto operator<=>(const PrefixKey&) const = default;
};

class PrefixTree {
 public:
  struct Node;

  // The cache is the caller's and outlives the tree.
  explicit PrefixTree(KvCache& cache);
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  // The longest beginning of the tokens that is held, a multiple of 128. Counts as use.
  struct Match {
    std::int64_t tokens = 0;
    Node* node = nullptr;  // null: none
  };
  Match find(const PrefixKey& key, std::span<const Token> tokens);
  // The node that ends with the first `tokens` of a match, a multiple of 128 and not 0: cut out of a longer one where need be.
  Node* node_at(const Match& match, std::int64_t tokens);
  // A new sequence of all tokens up to the node's end.
  SequenceId fork(const Node& node);

  // From now on the first pages of a sequence are found: those of `tokens`, cut down to whole pages. Returns the node that ends with
  // them, null for less than a page. What is held already stays as it is. `own`: the node that this sequence has pinned, or null.
  Node* insert(const PrefixKey& key, std::span<const Token> tokens, SequenceId sequence, const Node* own);

  // While a sequence that goes on from a node's end has it pinned, the node is not idle, nor is what lies above it. Null is allowed.
  static void pin(Node* node);
  static void unpin(Node* node);

  // Lets go of up to `pages` idle pages; returns how many.
  std::int64_t evict(std::int64_t pages);
  std::int64_t idle_pages() const;
  std::int64_t num_nodes() const;

  // The text and sequence of idle leaves, the least recently used first.
  struct Leaf {
    PrefixKey key;
    std::vector<Token> tokens;
    SequenceId sequence;
  };
  std::vector<Leaf> idle_leaves() const;

 private:
  SequenceId fork_pages(SequenceId sequence, std::int64_t tokens);
  Node* split(Node* node, std::int64_t edge_tokens);
  void remove(Node* leaf);
  Node* oldest_leaf() const;

  KvCache& cache_;
  std::map<PrefixKey, std::unique_ptr<Node>> roots_;
  std::uint64_t clock_ = 0;
};

}  // namespace qjl::engine
