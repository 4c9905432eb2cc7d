#define PCRE2_CODE_UNIT_WIDTH 8  // pcre2.h requires the definition before its inclusion
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "hf/tokenizer_pattern.hpp"

namespace meshseek {
namespace {

/// Steps that one match may take: patterns of real tokenizers need a few for each byte. A limit that did not know the size of the piece would
/// let a hostile pattern spend all of it at every byte of a short text.
constexpr std::size_t kStepsPerMatch = 100'000;
constexpr std::size_t kStepsPerByte = 100;
constexpr std::size_t kMostSteps = 10'000'000;
constexpr std::uint32_t kHeapLimitKib = 64 * 1024;

template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Freed<pcre2_code_free>>;
using CompileContextPtr = std::unique_ptr<pcre2_compile_context, Freed<pcre2_compile_context_free>>;
using MatchContextPtr = std::unique_ptr<pcre2_match_context, Freed<pcre2_match_context_free>>;
using MatchDataPtr = std::unique_ptr<pcre2_match_data, Freed<pcre2_match_data_free>>;

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer = {};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

CodePtr compile(const std::string& translated, const std::string& where) {
  const CompileContextPtr context(pcre2_compile_context_create(nullptr));
  if (!context) throw Error(fmt::format("[{}] no memory for a pattern", where));
  // `$` and `^` of the files stand at any line break, and only LF is one.
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  std::size_t offset = 0;
  CodePtr compiled(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &offset, context.get()));
  if (!compiled)
    throw Error(fmt::format("[{}] bad pattern: {}; expected a regular expression; use another model", where, error_text(code)));
  std::uint32_t matches_empty = 0;
  pcre2_pattern_info(compiled.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0)
    throw Error(
        fmt::format("[{}] the pattern can match the empty text; expected one that takes at least one character; use another model", where));
  return compiled;
}

}  // namespace

struct SplitPattern::Compiled {
  CodePtr code = {};
  MatchContextPtr context = {};
  std::string where = {};

  /// First match at or after `start`, within the limits of `own`; false when there is none.
  bool find(std::string_view text, std::size_t start, pcre2_match_context* own, pcre2_match_data* data, std::size_t& first,
            std::size_t& last) const;
};

bool SplitPattern::Compiled::find(std::string_view text, std::size_t start, pcre2_match_context* own, pcre2_match_data* data,
                                  std::size_t& first, std::size_t& last) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int rc = pcre2_match(code.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK, data, own);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    // The interpreter keeps its back-tracking points on the heap, within the limits of the context.
    rc = pcre2_match(code.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, own);
  }
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) throw Error(fmt::format("[{}] matching a pattern failed: {}; the text is too hard for it", where, error_text(rc)));
  const std::size_t* ends = pcre2_get_ovector_pointer(data);
  first = ends[0];
  last = ends[1];
  if (last <= first) throw Error(fmt::format("[{}] a pattern matched the empty text; expected at least one character", where));
  return true;
}

SplitPattern::SplitPattern(std::string_view pattern, const std::string& where) {
  auto compiled = std::make_unique<Compiled>();
  compiled->where = where;
  compiled->code = compile(translate_pattern(pattern, where), where);
  // Without JIT support matching is slower and otherwise the same.
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
  compiled->context.reset(pcre2_match_context_create(nullptr));
  if (!compiled->context) throw Error(fmt::format("[{}] no memory for a pattern", where));
  pcre2_set_heap_limit(compiled->context.get(), kHeapLimitKib);
  compiled_ = std::move(compiled);
}

SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

std::vector<std::string_view> SplitPattern::isolate(const std::vector<std::string_view>& pieces) const {
  const MatchDataPtr data(pcre2_match_data_create_from_pattern(compiled_->code.get(), nullptr));
  const MatchContextPtr own(pcre2_match_context_copy(compiled_->context.get()));  // other threads match with other limits
  if (!data || !own) throw Error(fmt::format("[{}] no memory for matching", compiled_->where));
  std::vector<std::string_view> out;
  out.reserve(pieces.size());
  for (const std::string_view piece : pieces) {
    pcre2_set_match_limit(own.get(), static_cast<std::uint32_t>(std::min(kMostSteps, kStepsPerMatch + kStepsPerByte * piece.size())));
    std::size_t done = 0;
    std::size_t first = 0;
    std::size_t last = 0;
    while (done < piece.size() && compiled_->find(piece, done, own.get(), data.get(), first, last)) {
      if (first > done) out.push_back(piece.substr(done, first - done));
      out.push_back(piece.substr(first, last - first));
      done = last;
    }
    if (done < piece.size()) out.push_back(piece.substr(done));
  }
  return out;
}

}  // namespace meshseek
