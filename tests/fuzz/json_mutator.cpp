// Mutates JSON as a tree: bytes changed at random seldom parse, and what does not parse never reaches the readers behind parse_json().
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "config/tree.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace meshseek {
/// Where the JSON begins in an input; each target says.
extern const std::size_t kJsonStart;

namespace {

using Random = std::minstd_rand;

std::size_t below(Random& random, std::size_t limit) { return limit == 0 ? 0 : random() % limit; }

void collect(Tree& tree, std::vector<Tree*>& nodes) {
  nodes.push_back(&tree);
  if (tree.is_object()) {
    for (auto& member : tree.object()) collect(member.second, nodes);
  } else if (tree.is_array()) {
    for (Tree& element : tree.array()) collect(element, nodes);
  }
}

Tree odd_value(Random& random) {
  const std::vector<Tree> values = {Tree(),
                                    Tree(true),
                                    Tree(0),
                                    Tree(-1),
                                    Tree(std::numeric_limits<std::int64_t>::max()),
                                    Tree(1.5),
                                    Tree(1e300),
                                    Tree(""),
                                    Tree("{layer}"),
                                    Tree(Tree::Object{}),
                                    Tree(Tree::Array{})};
  return values[below(random, values.size())];
}

std::string odd_range(Random& random) {
  const std::size_t limit = below(random, 8) == 0 ? 1100 : 6;
  const std::size_t first = below(random, limit);
  return below(random, 2) == 0 ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(first + below(random, limit));
}

/// A key that occurs somewhere, or a range.
std::string some_key(const std::vector<Tree*>& nodes, Random& random) {
  const Tree& donor = *nodes[below(random, nodes.size())];
  if (!donor.is_object() || donor.as_object("").empty() || below(random, 3) == 0) return odd_range(random);
  const Tree::Object& members = donor.as_object("");
  return members[below(random, members.size())].first;
}

void change_members(Tree& tree, const std::vector<Tree*>& nodes, Random& random) {
  const std::string key = some_key(nodes, random);
  Tree donor = *nodes[below(random, nodes.size())];
  Tree::Object& members = tree.object();
  const std::size_t chosen = below(random, members.size());
  if (members.empty() || below(random, 3) == 0) {
    tree.set(key, std::move(donor));
  } else if (below(random, 2) == 0) {
    members.erase(members.begin() + static_cast<std::ptrdiff_t>(chosen));
  } else if (tree.find(key) == nullptr) {
    members[chosen].first = key;
  }
}

void mutate(Tree& root, Random& random) {
  std::vector<Tree*> nodes;
  collect(root, nodes);
  Tree& node = *nodes[below(random, nodes.size())];
  const std::size_t choice = below(random, 4);
  if (choice == 0) {
    node = odd_value(random);
  } else if (choice == 1) {
    Tree donor = *nodes[below(random, nodes.size())];
    node = std::move(donor);
  } else if (node.is_object()) {
    change_members(node, nodes, random);
  } else {
    node = odd_value(random);
  }
}

std::string mutated(std::string_view text, Random& random) {
  try {
    Tree tree = parse_json(text, "mutator");
    for (std::size_t i = 0, count = 1 + below(random, 4); i < count; ++i) mutate(tree, random);
    return to_json_line(tree);
  } catch (const ConfigError&) {
    return {};
  }
}

}  // namespace
}  // namespace meshseek

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned int seed) {
  using namespace meshseek;
  Random random(seed);
  if (size <= kJsonStart || below(random, 5) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string text = mutated({reinterpret_cast<const char*>(data) + kJsonStart, size - kJsonStart}, random);
  if (text.empty() || text.size() + kJsonStart > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data + kJsonStart, text.data(), text.size());
  return kJsonStart + text.size();
}
