/// Chat templates: the Jinja subset that DeepSeek templates use (tier 1), rendered like transformers does
/// (trim_blocks, lstrip_blocks, tojson without escaping).
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"

namespace meshseek {

class ChatTemplate {
 public:
  /// Parses the template text. \throws Error with line and what was not understood.
  explicit ChatTemplate(std::string_view source);
  /// `chat_template`, `bos_token`, `eos_token` of `folder/tokenizer_config.json`. \throws Error when the file or the field is missing.
  static ChatTemplate from_folder(const Path& folder);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// Renders with `context` (an object: messages, tools, add_generation_prompt, ... );
  /// bos_token and eos_token are added when from_folder() found them.
  /// \throws Error where the reference raises (undefined subscript, adding none to a string, ...). Bounded output (64 MiB) and steps.
  std::string render(const Tree& context) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace meshseek
