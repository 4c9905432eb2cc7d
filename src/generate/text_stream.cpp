#include "generate/text_stream.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace meshseek {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) throw Error("[stop] a stop string is empty; expected at least one character");
  }
}

std::string StopFilter::push(std::string_view text) {
  if (stopped_) return {};
  pending_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, pending_.find(stop));
  stopped_ = first != std::string::npos;
  const std::size_t num_shown = stopped_ ? first : pending_.size() - num_held_back();
  std::string shown = pending_.substr(0, num_shown);
  pending_.erase(0, num_shown);
  return shown;
}

std::string StopFilter::finish() {
  if (stopped_) return {};
  return std::exchange(pending_, {});
}

std::size_t StopFilter::num_held_back() const {
  std::size_t held = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t length = std::min(stop.size() - 1, pending_.size()); length > held; --length) {
      if (pending_.ends_with(std::string_view(stop).substr(0, length))) held = length;
    }
  }
  return held;
}

TextStream::TextStream(const Tokenizer* tokenizer, std::vector<std::string> stops) : tokenizer_(tokenizer), filter_(std::move(stops)) {
  if (tokenizer_ == nullptr) return;
  for (const AddedToken& token : tokenizer_->added_tokens()) {
    if (token.special) special_ids_.push_back(token.id);
  }
  std::ranges::sort(special_ids_);
}

bool TextStream::is_special(std::int64_t id) const { return std::ranges::binary_search(special_ids_, id); }

std::string TextStream::push(std::int64_t id) {
  if (tokenizer_ == nullptr || id >= tokenizer_->vocab_size() || is_special(id)) return {};
  return filter_.push(characters_.push(tokenizer_->token_bytes(id)));
}

std::string TextStream::finish() {
  std::string text = filter_.push(characters_.finish());
  return text + filter_.finish();
}

}  // namespace meshseek
