/// Syntax trees of chat templates.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hf/jinja_lexer.hpp"
#include "hf/jinja_value.hpp"

namespace meshseek {

/// An expression. What `parts` hold depends on the kind.
struct JinjaExpr {
  enum class Kind {
    Literal,    ///< value
    Name,       ///< text: the variable
    List,       ///< parts: the elements
    Dict,       ///< parts: key, value, key, value, ...
    Attribute,  ///< parts: object; text: the attribute
    Item,       ///< parts: object, key
    Slice,      ///< parts: object, start, stop, step (none literals when left out)
    Call,       ///< parts: callee, arguments; keywords
    Filter,     ///< parts: input, arguments; text: the filter; keywords
    Test,       ///< parts: input; text: the test
    Not,        ///< parts: operand
    Negate,     ///< parts: operand
    Binary,     ///< parts: left, right; text: + - * ~
    Compare,    ///< parts: operands; names: one operator between two operands
    And,        ///< parts: left, right
    Or,         ///< parts: left, right
    Choice,     ///< parts: condition, value, other value (may be missing)
  };
  Kind kind = Kind::Literal;
  std::size_t line = 1;
  std::size_t depth = 1;  ///< levels of the tree from here
  std::string text = {};
  JinjaValue value = {};
  std::vector<std::unique_ptr<JinjaExpr>> parts = {};
  std::vector<std::string> names = {};  ///< Compare: operators; Call and Filter: names of the last parts, given as keywords
};
using JinjaExprPtr = std::unique_ptr<JinjaExpr>;

struct JinjaStatement;
using JinjaBlock = std::vector<JinjaStatement>;

struct JinjaStatement {
  enum class Kind {
    Text,          ///< text
    Output,        ///< expr
    If,            ///< expr, body, otherwise
    For,           ///< targets, expr (the list), filter (may be null), body, otherwise
    Set,           ///< targets, values
    SetAttribute,  ///< targets: the namespace; text: the attribute; values: one
  };
  Kind kind = Kind::Text;
  std::size_t line = 1;
  std::string text = {};
  JinjaExprPtr expr = {};
  JinjaExprPtr filter = {};
  std::vector<std::string> targets = {};
  std::vector<JinjaExprPtr> values = {};
  JinjaBlock body = {};
  JinjaBlock otherwise = {};
};

/// The tokens of a template with a read position.
class JinjaTokens {
 public:
  explicit JinjaTokens(std::vector<JinjaToken> tokens) : tokens_(std::move(tokens)) {}

  const JinjaToken& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const JinjaToken& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is(JinjaToken::Kind kind, std::string_view text) const { return peek().kind == kind && peek().text == text; }
  bool is_operator(std::string_view text) const { return is(JinjaToken::Kind::Operator, text); }
  bool is_name(std::string_view text) const { return is(JinjaToken::Kind::Name, text); }
  /// Steps over an operator or a keyword when it is next.
  bool accept_operator(std::string_view text);
  bool accept_name(std::string_view text);
  /// \throws Error naming the line, what is there and what was expected.
  const JinjaToken& expect(JinjaToken::Kind kind, std::string_view what);
  void expect_operator(std::string_view text);
  [[noreturn]] void unexpected(std::string_view expected) const;

 private:
  std::vector<JinjaToken> tokens_;
  std::size_t at_ = 0;
};

/// Parses one expression; without `with_choice` a trailing `if` is left alone. \throws Error with the line.
JinjaExprPtr parse_jinja_expression(JinjaTokens& tokens, bool with_choice = true);

/// Parses a whole template.
/// \throws Error with the line: unknown statements, filters and tests, blocks without an end, nesting above 200 levels.
JinjaBlock parse_jinja(std::string_view source);

}  // namespace meshseek
