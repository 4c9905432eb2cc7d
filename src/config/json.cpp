/// Reading of JSON text: nlohmann's tokens become Trees directly, without its own document in between.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.hpp"
#include "config/tree.hpp"

namespace meshseek {
namespace {

/// Input iterator that tells how far the parser has read: nlohmann's events carry no position.
class TrackedByte {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedByte(const char* at, const char** read_up_to) : at_(at), read_up_to_(read_up_to) {}
  reference operator*() const { return *at_; }
  TrackedByte& operator++() {
    *read_up_to_ = ++at_;
    return *this;
  }
  TrackedByte operator++(int) {
    TrackedByte before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackedByte& other) const { return at_ == other.at_; }

 private:
  const char* at_ = nullptr;
  const char** read_up_to_ = nullptr;
};

/// Objects up to this size are searched linearly for a duplicate key, larger ones by hash.
constexpr std::size_t kLinearSearchKeys = 16;

/// An array or object that is still open.
struct OpenValue {
  Tree tree = {};
  std::string key = {};  ///< of the member being read (objects)
  std::unordered_set<std::size_t> key_hashes = {};
};

/// Builds the tree from the events of the parser.
class TreeBuilder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  TreeBuilder(std::string_view text, const std::string& where) : text_(text), where_(where), read_up_to_(text.data()) {}

  Tree take() { return std::move(root_); }
  const char** read_up_to() { return &read_up_to_; }

  bool null() { return add(Tree()); }
  bool boolean(bool value) { return add(Tree(value)); }
  bool number_integer(number_integer_t value) { return add(Tree(std::int64_t{value})); }

  bool number_unsigned(number_unsigned_t value) {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) fail_range(std::to_string(value));
    return add(Tree(static_cast<std::int64_t>(value)));
  }

  bool number_float(number_float_t value, const string_t& token) {
    // An integer beyond 64 bits arrives here: as a double it would silently lose digits.
    if (token.find_first_of(".eE") == string_t::npos) fail_range(token);
    return add(Tree(value));
  }

  bool string(string_t& value) { return add(Tree(std::move(value))); }
  bool binary(binary_t&) { return false; }

  bool start_object(std::size_t) { return open(Tree(Tree::Object{})); }
  bool start_array(std::size_t) { return open(Tree(Tree::Array{})); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(string_t& name) {
    OpenValue& object = open_.back();
    if (is_duplicate(object, name)) fail(fmt::format("the key \"{}\" is given twice in one object; keep one", shown(name)));
    object.key = std::move(name);
    return true;
  }

  template <class Exception>
  bool parse_error(std::size_t, const std::string&, const Exception& error) {
    // "[json.exception...] parse error at line 1, column 2: <text>": the position is ours.
    std::string text = error.what();
    text.erase(0, text.find("] ") + 2);
    if (text.starts_with("parse error at")) text.erase(0, text.find(": ") + 2);
    fail(shown(text));
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    const std::size_t read = static_cast<std::size_t>(read_up_to_ - text_.data());
    const std::string_view before = text_.substr(0, read == 0 ? 0 : read - 1);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 == 0: the first line
    throw ConfigError(fmt::format("[{}:{}:{}] {}", where_, line, before.size() - line_start + 1, message));
  }

  [[noreturn]] void fail_range(const std::string& token) const {
    fail(fmt::format("the integer {} does not fit in 64 bits with a sign", shown(token)));
  }

  /// A short, printable, one-line form of text from the file.
  static std::string shown(std::string_view text) {
    constexpr std::size_t kMaxBytes = 160;
    std::string result(text.substr(0, kMaxBytes));
    for (char& byte : result) {
      if (byte < 0x20 || byte >= 0x7f) byte = '?';
    }
    return text.size() > kMaxBytes ? result + "..." : result;
  }

  static bool is_duplicate(OpenValue& object, const std::string& name) {
    const Tree::Object& members = object.tree.object();
    if (members.size() < kLinearSearchKeys) return object.tree.find(name) != nullptr;
    const std::hash<std::string_view> hash;
    if (object.key_hashes.empty()) {
      for (const auto& member : members) object.key_hashes.insert(hash(member.first));
    }
    // Equal hashes of different keys are possible, so only a search decides.
    return !object.key_hashes.insert(hash(name)).second && object.tree.find(name) != nullptr;
  }

  bool add(Tree&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (OpenValue& parent = open_.back(); parent.tree.is_object()) {
      parent.tree.object().emplace_back(std::move(parent.key), std::move(value));
    } else {
      parent.tree.array().push_back(std::move(value));
    }
    return true;
  }

  bool open(Tree&& empty) {
    if (open_.size() >= static_cast<std::size_t>(kMaxTreeDepth)) fail(fmt::format("the nesting is deeper than {} levels", kMaxTreeDepth));
    open_.push_back({.tree = std::move(empty)});
    return true;
  }

  bool close() {
    Tree value = std::move(open_.back().tree);
    open_.pop_back();
    return add(std::move(value));
  }

  std::string_view text_;
  const std::string& where_;
  const char* read_up_to_ = nullptr;
  Tree root_;
  std::vector<OpenValue> open_;
};

}  // namespace

Tree parse_json(std::string_view text, const std::string& where) {
  TreeBuilder builder(text, where);
  const TrackedByte first(text.data(), builder.read_up_to());
  const TrackedByte last(text.data() + text.size(), builder.read_up_to());
  nlohmann::json::sax_parse(first, last, &builder);
  return builder.take();
}

}  // namespace meshseek
