#include "json_mutation.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "config/tree.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace meshseek {
namespace {

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
                                    Tree(static_cast<int>(below(random, 40))),
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

void change_elements(Tree& tree, const std::vector<Tree*>& nodes, Random& random) {
  Tree donor = *nodes[below(random, nodes.size())];
  Tree::Array& elements = tree.array();
  const auto chosen = static_cast<std::ptrdiff_t>(below(random, elements.size()));
  const std::size_t choice = elements.empty() ? 0 : below(random, 4);
  if (choice == 0) {
    elements.insert(elements.begin() + chosen, std::move(donor));
  } else if (choice == 1) {
    elements.erase(elements.begin() + chosen);
  } else if (choice == 2) {
    Tree twin = elements[static_cast<std::size_t>(chosen)];
    elements.push_back(std::move(twin));
  } else {
    std::swap(elements[static_cast<std::size_t>(chosen)], elements[below(random, elements.size())]);
  }
}

/// Bytes of a text changed at random; what is no UTF-8 then is refused when the tree is written.
std::string changed_text(std::string text) {
  const std::size_t size = text.size();
  text.resize(size + 32);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
  return text;
}

/// A change that mostly keeps the type: with another one a file is refused before anything is made of it.
void mutate(Tree& root, Random& random) {
  std::vector<Tree*> nodes;
  collect(root, nodes);
  Tree& node = *nodes[below(random, nodes.size())];
  const std::size_t choice = below(random, 8);
  if (choice == 1) {
    Tree donor = *nodes[below(random, nodes.size())];
    node = std::move(donor);
  } else if (choice > 1 && node.is_object()) {
    change_members(node, nodes, random);
  } else if (choice > 1 && node.is_array()) {
    change_elements(node, nodes, random);
  } else if (choice > 1 && node.is_string()) {
    node = changed_text(node.as_string("mutator"));
  } else if (choice > 1 && node.is_integer()) {
    // Unsigned, so that it wraps around.
    node = static_cast<std::int64_t>(static_cast<std::uint64_t>(node.as_integer("mutator")) + below(random, 9) - 4);
  } else {
    node = odd_value(random);
  }
}

}  // namespace

std::size_t below(Random& random, std::size_t limit) { return limit == 0 ? 0 : random() % limit; }

std::string mutated_json(std::string_view text, Random& random) {
  try {
    Tree tree = parse_json(text, "mutator");
    for (std::size_t i = 0, count = 1 + below(random, 3); i < count; ++i) mutate(tree, random);
    return to_json_line(tree);
  } catch (const ConfigError&) {
    return {};
  }
}

}  // namespace meshseek
