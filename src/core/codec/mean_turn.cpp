// Sorts the channels of a head by how fast RoPE turns them. See mean_turn.hpp.
#include "mean_turn.hpp"

#include <cmath>

#include "fail.hpp"
#include "page.hpp"

namespace qjl {
void check_rope(int head_dim, const KeyRope& rope, std::string_view where) {
  require(2 * rope.frequency.size() <= static_cast<std::size_t>(head_dim), "codec", where, "found ", rope.frequency.size(),
          " RoPE frequencies, wanted at most ", head_dim / 2);
  for (const double frequency : rope.frequency) {
    require(std::isfinite(frequency) && frequency >= 0.0, "codec", where, "found the RoPE frequency ", frequency,
            ", wanted 0 or more");
  }
}

MeanTurn make_mean_turn(int head_dim, const KeyRope& rope) {
  check_rope(head_dim, rope);
  const int pairs = static_cast<int>(rope.frequency.size());
  const bool halves = rope.pairs == KeyRope::Pairs::halves;
  const auto channel = [&](int pair, int part) {
    return static_cast<std::uint8_t>(halves ? pair + part * pairs : 2 * pair + part);
  };
  std::vector<std::uint8_t> first, second, still, without;
  MeanTurn turn;
  for (int i = 0; i < pairs; ++i) {
    const double frequency = rope.frequency[static_cast<std::size_t>(i)];
    const bool turns = frequency * (layout::kPageTokens / 2) >= layout::kStillTurn;
    if (turns && frequency * layout::kKnotTokens <= layout::kMaxKnotTurn) {
      first.push_back(channel(i, 0));
      second.push_back(channel(i, 1));
      for (int knot = 0; knot < layout::kKnotStride; ++knot) {
        const double angle = frequency * layout::knot_position(knot);
        turn.cos.push_back(knot < layout::kMeanKnots ? static_cast<float>(std::cos(angle)) : 0.0f);
        turn.sin.push_back(knot < layout::kMeanKnots ? static_cast<float>(std::sin(angle)) : 0.0f);
        if (knot >= layout::kMeanKnots / 2) continue;
        turn.early.push_back(turn.cos.back());
        turn.early.push_back(turn.sin.back());
      }
    } else {
      std::vector<std::uint8_t>& list = turns ? without : still;
      list.push_back(channel(i, 0));
      list.push_back(channel(i, 1));
    }
  }
  for (int c = 2 * pairs; c < head_dim; ++c) still.push_back(static_cast<std::uint8_t>(c));
  turn.turning_pairs = static_cast<int>(first.size());
  turn.mean_channels = head_dim - static_cast<int>(without.size());
  for (const std::vector<std::uint8_t>* part : {&first, &second, &still, &without}) {
    turn.order.insert(turn.order.end(), part->begin(), part->end());
  }
  return turn;
}

}  // namespace qjl
