#include "hf/tokenizer_pattern.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "hf/quote_name.hpp"
#include "hf/unicode.hpp"
#include "hf/unicode_classes.hpp"

namespace meshseek {
namespace {

using Ranges = std::vector<CodePointRange>;
constexpr std::uint32_t kMaxCodePoint = 0x10FFFF;
/// Ranges of all the \p and \s of a pattern: each is short to write and long to compile. Real patterns have 10,000.
constexpr std::size_t kMaxRanges = 100'000;

/// Sorts and joins ranges that touch.
Ranges normalized(Ranges ranges) {
  std::ranges::sort(ranges, {}, &CodePointRange::first);
  Ranges out;
  for (const CodePointRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

/// All scalar values outside of `ranges`. The surrogates are left out: PCRE2 refuses them in a pattern and valid text has none.
Ranges complement(Ranges ranges) {
  ranges.push_back({0xD800, 0xDFFF});
  Ranges out;
  std::uint32_t next = 0;
  for (const CodePointRange& range : normalized(std::move(ranges))) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) out.push_back({next, kMaxCodePoint});
  return out;
}

std::string print_class(const Ranges& ranges, bool negated) {
  std::string out = negated ? "[^" : "[";
  for (const CodePointRange& range : normalized(ranges)) {
    out += fmt::format("\\x{{{:x}}}", range.first);
    if (range.last > range.first) out += fmt::format("-\\x{{{:x}}}", range.last);
  }
  return out + "]";
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : where_(where), text_(decode_utf8(pattern, where)) {}

  std::string run() {
    while (at_ < text_.size()) {
      const char32_t c = text_[at_];
      if (c == U'\\') {
        const Ranges ranges = escape();
        out_ += print_class(ranges, false);
      } else if (c == U'[') {
        char_class();
      } else if (c == U'(') {
        group();
      } else if (c == U'{') {
        repetition();
      } else {
        append_utf8(out_, c);
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(
        fmt::format("[{}] pattern has {} at character {}; expected literals, classes, groups, look-arounds, repetitions and "
                    "\\p{{L|M|N|P|S}}, \\s; use another model",
                    where_, what, at_));
  }

  bool follows(std::u32string_view expected) const { return std::u32string_view(text_).substr(at_, expected.size()) == expected; }

  /// `\...` at the read position, as a set of code points; moves behind it.
  Ranges escape() {
    if (at_ + 1 >= text_.size()) refuse("a backslash at its end");
    const char32_t c = text_[at_ + 1];
    if (c == U'p' || c == U'P') return property(c == U'P');
    const bool punctuation =
        c < 0x80 && c > 0x20 && c != 0x7F && !(c >= U'0' && c <= U'9') && !(c >= U'A' && c <= U'Z') && !(c >= U'a' && c <= U'z');
    at_ += 2;
    if (c == U's' || c == U'S') return class_ranges("space", c == U'S');
    if (c == U'r') return {{0x0D, 0x0D}};
    if (c == U'n') return {{0x0A, 0x0A}};
    if (c == U't') return {{0x09, 0x09}};
    if (punctuation) return {{c, c}};
    at_ -= 2;
    std::string name;
    append_utf8(name, c);
    refuse(fmt::format("the escape \\ {}", quote_name(name)));
  }

  Ranges class_ranges(std::string_view name, bool negated) {
    const auto span = unicode_class(name);
    Ranges ranges(span.begin(), span.end());
    if (negated) ranges = complement(std::move(ranges));
    num_ranges_ += ranges.size();
    if (num_ranges_ > kMaxRanges) refuse(fmt::format("classes of more than {} ranges in all", kMaxRanges));
    return ranges;
  }

  Ranges property(bool negated) {
    const std::size_t close = text_.find(U'}', at_);
    if (at_ + 2 >= text_.size() || text_[at_ + 2] != U'{' || close == std::u32string::npos) refuse("a \\p without {name}");
    std::string name;
    for (std::size_t i = at_ + 3; i < close; ++i) append_utf8(name, text_[i]);
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    if (name.size() != 1 || unicode_class(name).empty()) refuse(fmt::format("the property \\p {}", quote_name(name)));
    at_ = close + 1;
    return class_ranges(name, negated);
  }

  /// One member of a class: a literal (a range of one) or the set of an escape.
  Ranges class_member() {
    if (at_ >= text_.size()) refuse("a class without ']'");
    if (text_[at_] == U'\\') return escape();
    if (text_[at_] == U'[') refuse("a class inside a class");
    if (follows(U"&&")) refuse("a class intersection");
    const char32_t c = text_[at_++];
    return {{c, c}};
  }

  void char_class() {
    ++at_;
    const bool negated = follows(U"^");
    if (negated) ++at_;
    if (follows(U"]")) refuse("an empty class");
    Ranges ranges;
    while (!follows(U"]")) {
      const Ranges member = class_member();
      const bool single = member.size() == 1 && member[0].first == member[0].last;
      if (single && follows(U"-") && at_ + 1 < text_.size() && text_[at_ + 1] != U']') {
        ++at_;
        const Ranges end = class_member();
        if (end.size() != 1 || end[0].first != end[0].last || end[0].first < member[0].first) refuse("a bad range in a class");
        ranges.push_back({member[0].first, end[0].first});
      } else {
        ranges.insert(ranges.end(), member.begin(), member.end());
      }
    }
    ++at_;
    out_ += print_class(ranges, negated);
  }

  void group() {
    if (follows(U"(*")) refuse("a verb (*");
    if (follows(U"(?")) {
      static constexpr std::array<std::u32string_view, 7> kGroups = {U"(?:", U"(?=", U"(?!", U"(?>", U"(?<=", U"(?<!", U"(?i:"};
      for (const std::u32string_view head : kGroups) {
        if (!follows(head)) continue;
        for (const char32_t c : head) append_utf8(out_, c);
        at_ += head.size();
        return;
      }
      refuse("a group with an unknown (? head");
    }
    out_ += '(';
    ++at_;
  }

  /// `{n}`, `{n,}`, `{n,m}`; the engines differ on `{,m}` and on a possessive `{n,m}+`.
  void repetition() {
    const std::size_t close = text_.find(U'}', at_);
    if (close == std::u32string::npos || close == at_ + 1) refuse("a '{' that is no repetition");
    for (std::size_t i = at_ + 1; i < close; ++i) {
      const bool digit = text_[i] >= U'0' && text_[i] <= U'9';
      if (!digit && (text_[i] != U',' || i == at_ + 1)) refuse("a '{' that is no repetition");
    }
    if (close + 1 < text_.size() && text_[close + 1] == U'+') refuse("a '+' after '}'");
    while (at_ <= close) append_utf8(out_, text_[at_++]);
  }

  const std::string& where_;
  std::u32string text_;
  std::size_t at_ = 0;
  std::size_t num_ranges_ = 0;  ///< that classes expanded to so far
  std::string out_;
};

}  // namespace

std::string translate_pattern(std::string_view pattern, const std::string& where) { return Translator(pattern, where).run(); }

}  // namespace meshseek
