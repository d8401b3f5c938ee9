// The tree. Sequences are forked at page borders, so that a node holds references to pages and no open rows.
#include "prefix_tree.hpp"

#include <algorithm>
#include <utility>

namespace qjl::engine {

struct PrefixTree::Node {
  Node* parent = nullptr;  // null: a root, without an edge or a sequence
  std::vector<Token> edge;
  std::int64_t end = 0;  // tokens from the root to here
  SequenceId sequence{};
  std::vector<std::unique_ptr<Node>> children;
  int pins = 0;
  std::uint64_t used = 0;  // when
};

namespace {

using Node = PrefixTree::Node;

// Whole pages that an edge and the tokens have in common, in tokens.
std::int64_t common_pages(std::span<const Token> edge, std::span<const Token> tokens) {
  const auto common = std::ranges::mismatch(edge, tokens).in1 - edge.begin();
  return common / kTokensPerPage * kTokensPerPage;
}

template <typename Work>
void for_nodes(const Node& node, const Work& work) {
  if (node.parent != nullptr) work(node);
  for (const std::unique_ptr<Node>& child : node.children) for_nodes(*child, work);
}

bool is_pinned(const Node& node) {
  return node.pins > 0 || std::ranges::any_of(node.children, [](const auto& child) { return is_pinned(*child); });
}

}  // namespace

PrefixTree::PrefixTree(KvCache& cache) : cache_(cache) {}
PrefixTree::~PrefixTree() {
  for (const auto& [key, root] : roots_) for_nodes(*root, [&](const Node& node) { cache_.drop(node.sequence); });
}

SequenceId PrefixTree::fork_pages(SequenceId sequence, std::int64_t tokens) {
  const SequenceId copy = cache_.fork(sequence);
  try {
    cache_.truncate(copy, tokens);
  } catch (...) {
    cache_.drop(copy);
    throw;
  }
  return copy;
}

PrefixTree::Match PrefixTree::find(const PrefixKey& key, std::span<const Token> tokens) {
  const auto root = roots_.find(key);
  if (root == roots_.end()) return {};
  const std::uint64_t now = ++clock_;
  Match match;
  for (Node* at = root->second.get(); at != nullptr;) {
    Node* next = nullptr;
    const auto rest = tokens.subspan(static_cast<std::size_t>(match.tokens));
    for (const std::unique_ptr<Node>& child : at->children) {
      const std::int64_t common = common_pages(child->edge, rest);
      if (common == 0) continue;  // no other child begins with the same page
      child->used = now;
      match = {match.tokens + common, child.get()};
      if (common == std::ssize(child->edge)) next = child.get();
      break;
    }
    at = next;
  }
  return match;
}

SequenceId PrefixTree::fork(const Node& node) { return fork_pages(node.sequence, node.end); }

PrefixTree::Node* PrefixTree::node_at(const Match& match, std::int64_t tokens) {
  Node* node = match.node;
  while (node->end - std::ssize(node->edge) >= tokens) node = node->parent;
  return node->end == tokens ? node : split(node, tokens - (node->end - std::ssize(node->edge)));
}

// The first part of an edge becomes a node of its own above it; returns that.
PrefixTree::Node* PrefixTree::split(Node* node, std::int64_t edge_tokens) {
  auto upper = std::make_unique<Node>();
  const std::int64_t begin = node->end - std::ssize(node->edge);
  upper->parent = node->parent;
  upper->edge.assign(node->edge.begin(), node->edge.begin() + edge_tokens);
  upper->end = begin + edge_tokens;
  upper->used = node->used;
  upper->children.reserve(1);  // after the fork nothing may throw
  upper->sequence = fork_pages(node->sequence, upper->end);
  auto& siblings = node->parent->children;
  const auto place = std::ranges::find(siblings, node, &std::unique_ptr<Node>::get);
  upper->children.push_back(std::move(*place));
  *place = std::move(upper);
  node->parent = place->get();
  node->edge.erase(node->edge.begin(), node->edge.begin() + edge_tokens);
  return place->get();
}

PrefixTree::Node* PrefixTree::insert(const PrefixKey& key, std::span<const Token> tokens, SequenceId sequence, const Node* own) {
  tokens = tokens.first(tokens.size() / kTokensPerPage * kTokensPerPage);
  if (tokens.empty()) return nullptr;
  const auto size = std::ssize(tokens);
  const Match match = find(key, tokens);
  Node* at = match.node;
  if (at == nullptr) {
    std::unique_ptr<Node>& root = roots_[key];
    if (!root) root = std::make_unique<Node>();
    at = root.get();
  } else if (at == own && at->pins == 1 && match.tokens == at->end && at->children.empty() && match.tokens < size) {
    // A leaf that nobody else has grows: pins stay at the end of what their sequences have.
    cache_.extend(at->sequence, sequence, size);
    at->edge.insert(at->edge.end(), tokens.begin() + match.tokens, tokens.end());
    at->end = size;
    return at;
  } else if (match.tokens < at->end) {
    at = split(at, match.tokens - (at->end - std::ssize(at->edge)));
  }
  if (match.tokens == size) return at;
  auto leaf = std::make_unique<Node>();
  leaf->parent = at;
  leaf->edge.assign(tokens.begin() + match.tokens, tokens.end());
  leaf->end = size;
  leaf->used = ++clock_;
  // What lies above it is the tree's own, even where the sequence has pages of its own with the same tokens.
  leaf->sequence = fork_pages(at->parent == nullptr ? sequence : at->sequence, at->parent == nullptr ? size : at->end);
  const SequenceId own_sequence = leaf->sequence;
  try {
    if (at->parent != nullptr) cache_.extend(own_sequence, sequence, size);
    at->children.push_back(std::move(leaf));
  } catch (...) {
    cache_.drop(own_sequence);
    throw;
  }
  return at->children.back().get();
}

void PrefixTree::pin(Node* node) {
  if (node != nullptr) ++node->pins;
}
void PrefixTree::unpin(Node* node) {
  if (node != nullptr) --node->pins;
}

PrefixTree::Node* PrefixTree::oldest_leaf() const {
  const Node* oldest = nullptr;
  for (const auto& [key, root] : roots_) {
    for_nodes(*root, [&](const Node& node) {
      if (node.children.empty() && node.pins == 0 && (oldest == nullptr || node.used < oldest->used)) oldest = &node;
    });
  }
  return const_cast<Node*>(oldest);
}

void PrefixTree::remove(Node* leaf) {
  cache_.drop(leaf->sequence);
  auto& siblings = leaf->parent->children;
  siblings.erase(std::ranges::find(siblings, leaf, &std::unique_ptr<Node>::get));
}

std::int64_t PrefixTree::evict(std::int64_t pages) {
  std::int64_t left = pages;
  while (left > 0) {
    Node* leaf = oldest_leaf();
    if (leaf == nullptr) break;
    const std::int64_t own = std::ssize(leaf->edge) / kTokensPerPage;
    if (own <= left) {
      remove(leaf);
      left -= own;
      continue;
    }
    leaf->edge.resize(leaf->edge.size() - static_cast<std::size_t>(left * kTokensPerPage));
    leaf->end -= left * kTokensPerPage;
    cache_.truncate(leaf->sequence, leaf->end);
    left = 0;
  }
  std::erase_if(roots_, [](const auto& root) { return root.second->children.empty(); });
  return pages - left;
}

std::int64_t PrefixTree::idle_pages() const {
  std::int64_t tokens = 0;
  for (const auto& [key, root] : roots_) {
    for_nodes(*root, [&](const Node& node) { tokens += is_pinned(node) ? 0 : std::ssize(node.edge); });
  }
  return tokens / kTokensPerPage;
}

std::int64_t PrefixTree::num_nodes() const {
  std::int64_t count = 0;
  for (const auto& [key, root] : roots_) for_nodes(*root, [&](const Node&) { ++count; });
  return count;
}

std::vector<PrefixTree::Leaf> PrefixTree::idle_leaves() const {
  std::vector<std::pair<std::uint64_t, Leaf>> found;
  for (const auto& [key, root] : roots_) {
    for_nodes(*root, [&, &key = key](const Node& node) {
      if (!node.children.empty() || node.pins > 0) return;
      std::vector<Token> tokens;
      for (const Node* at = &node; at->parent != nullptr; at = at->parent)
        tokens.insert(tokens.begin(), at->edge.begin(), at->edge.end());
      found.emplace_back(node.used, Leaf{key, std::move(tokens), node.sequence});
    });
  }
  std::ranges::sort(found, {}, [](const auto& entry) { return entry.first; });
  std::vector<Leaf> leaves;
  for (auto& [used, leaf] : found) leaves.push_back(std::move(leaf));
  return leaves;
}

}  // namespace qjl::engine
