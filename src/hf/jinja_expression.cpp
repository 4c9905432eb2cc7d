#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "hf/jinja_builtins.hpp"
#include "hf/jinja_parser.hpp"

namespace meshseek {
namespace {

using ExprKind = JinjaExpr::Kind;
using TokenKind = JinjaToken::Kind;

constexpr std::size_t kMaxExpressionDepth = 200;  ///< of brackets and prefix operators
constexpr std::size_t kMaxTreeDepth = 1000;       ///< long chains of `a + b + c` are deep trees

class ExpressionParser {
 public:
  explicit ExpressionParser(JinjaTokens& tokens) : tokens_(tokens) {}

  JinjaExprPtr choice() {
    const Nesting guard(*this);
    JinjaExprPtr value = either();
    while (tokens_.is_name("if")) {
      JinjaExprPtr node = make(ExprKind::Choice);
      tokens_.next();
      JinjaExprPtr condition = either();
      JinjaExprPtr other = tokens_.accept_name("else") ? choice() : nullptr;
      add(*node, std::move(condition));
      add(*node, std::move(value));
      if (other) add(*node, std::move(other));
      value = std::move(node);
    }
    return value;
  }

  JinjaExprPtr either() {
    JinjaExprPtr left = both();
    while (tokens_.is_name("or")) left = binary(ExprKind::Or, std::move(left), &ExpressionParser::both);
    return left;
  }

 private:
  using Rule = JinjaExprPtr (ExpressionParser::*)();

  /// Counts the recursion of the parser.
  struct Nesting {
    explicit Nesting(ExpressionParser& owner) : parser(owner) {
      if (++parser.depth_ > kMaxExpressionDepth)
        fail_jinja(parser.tokens_.peek().line, fmt::format("an expression nests deeper than {} levels", kMaxExpressionDepth));
    }
    ~Nesting() { --parser.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    ExpressionParser& parser;
  };

  JinjaExprPtr make(ExprKind kind) const {
    auto node = std::make_unique<JinjaExpr>();
    node->kind = kind;
    node->line = tokens_.peek().line;
    return node;
  }

  static void add(JinjaExpr& node, JinjaExprPtr part) {
    node.depth = std::max(node.depth, part->depth + 1);
    if (node.depth > kMaxTreeDepth) fail_jinja(node.line, fmt::format("an expression has more than {} levels", kMaxTreeDepth));
    node.parts.push_back(std::move(part));
  }

  JinjaExprPtr binary(ExprKind kind, JinjaExprPtr left, Rule right) {
    JinjaExprPtr node = make(kind);
    node->text = tokens_.next().text;
    add(*node, std::move(left));
    add(*node, (this->*right)());
    return node;
  }

  JinjaExprPtr both() {
    JinjaExprPtr left = negation();
    while (tokens_.is_name("and")) left = binary(ExprKind::And, std::move(left), &ExpressionParser::negation);
    return left;
  }

  JinjaExprPtr negation() {
    if (!tokens_.is_name("not")) return comparison();
    const Nesting guard(*this);
    JinjaExprPtr node = make(ExprKind::Not);
    tokens_.next();
    add(*node, negation());
    return node;
  }

  /// The operator at the read position, stepped over; empty when there is none.
  std::string comparison_operator() {
    static constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
    if (tokens_.accept_name("in")) return "in";
    if (tokens_.is_name("not") && tokens_.peek(1).kind == TokenKind::Name && tokens_.peek(1).text == "in") {
      tokens_.next();
      tokens_.next();
      return "not in";
    }
    if (tokens_.peek().kind != TokenKind::Operator || std::ranges::find(kOperators, tokens_.peek().text) == kOperators.end()) return "";
    return tokens_.next().text;
  }

  JinjaExprPtr comparison() {
    JinjaExprPtr node = make(ExprKind::Compare);
    JinjaExprPtr first = sum();
    for (std::string name = comparison_operator(); !name.empty(); name = comparison_operator()) {
      if (first) add(*node, std::move(first));
      node->names.push_back(std::move(name));
      add(*node, sum());
    }
    return first ? std::move(first) : std::move(node);
  }

  JinjaExprPtr sum() {
    JinjaExprPtr left = concatenation();
    while (tokens_.is_operator("+") || tokens_.is_operator("-"))
      left = binary(ExprKind::Binary, std::move(left), &ExpressionParser::concatenation);
    return left;
  }

  JinjaExprPtr concatenation() {
    JinjaExprPtr left = product();
    while (tokens_.is_operator("~")) left = binary(ExprKind::Binary, std::move(left), &ExpressionParser::product);
    return left;
  }

  JinjaExprPtr product() {
    JinjaExprPtr left = unary();
    while (tokens_.is_operator("*")) left = binary(ExprKind::Binary, std::move(left), &ExpressionParser::unary);
    return left;
  }

  JinjaExprPtr unary() { return filters(sign()); }

  JinjaExprPtr sign() {
    if (!tokens_.is_operator("-")) return postfix(primary());
    const Nesting guard(*this);
    JinjaExprPtr node = make(ExprKind::Negate);
    tokens_.next();
    add(*node, sign());
    return node;
  }

  JinjaExprPtr postfix(JinjaExprPtr value) {
    for (;;) {
      if (tokens_.is_operator(".")) {
        JinjaExprPtr node = make(ExprKind::Attribute);
        tokens_.next();
        node->text = tokens_.expect(TokenKind::Name, "a name after '.'").text;
        add(*node, std::move(value));
        value = std::move(node);
      } else if (tokens_.is_operator("[")) {
        value = subscript(std::move(value));
      } else if (tokens_.is_operator("(")) {
        JinjaExprPtr node = make(ExprKind::Call);
        add(*node, std::move(value));
        arguments(*node);
        value = std::move(node);
      } else {
        return value;
      }
    }
  }

  JinjaExprPtr subscript(JinjaExprPtr value) {
    JinjaExprPtr node = make(ExprKind::Item);
    tokens_.next();
    add(*node, std::move(value));
    std::size_t colons = 0;
    JinjaExprPtr bound;
    while (!tokens_.is_operator("]")) {
      if (tokens_.accept_operator(":")) {
        add(*node, bound ? std::move(bound) : make(ExprKind::Literal));
        if (++colons > 2) tokens_.unexpected("']'");
      } else if (bound) {
        tokens_.unexpected("']'");
      } else {
        bound = choice();
      }
    }
    tokens_.expect_operator("]");
    if (colons == 0 && !bound) tokens_.unexpected("a key in '[]'");
    add(*node, bound ? std::move(bound) : make(ExprKind::Literal));
    if (colons == 0) return node;
    node->kind = ExprKind::Slice;
    while (node->parts.size() < 4) add(*node, make(ExprKind::Literal));
    return node;
  }

  void arguments(JinjaExpr& node) {
    tokens_.expect_operator("(");
    while (!tokens_.accept_operator(")")) {
      const bool keyword =
          tokens_.peek().kind == TokenKind::Name && tokens_.peek(1).kind == TokenKind::Operator && tokens_.peek(1).text == "=";
      if (keyword) {
        node.names.push_back(tokens_.next().text);
        tokens_.next();
      } else if (!node.names.empty()) {
        tokens_.unexpected("a keyword argument");
      }
      add(node, choice());
      if (!tokens_.is_operator(")")) tokens_.expect_operator(",");
    }
  }

  JinjaExprPtr filters(JinjaExprPtr value) {
    for (;;) {
      const bool filter = tokens_.is_operator("|");
      if (!filter && !tokens_.is_name("is")) return value;
      JinjaExprPtr node = make(filter ? ExprKind::Filter : ExprKind::Test);
      tokens_.next();
      const bool negated = !filter && tokens_.accept_name("not");
      node->text = tokens_.expect(TokenKind::Name, "the name of a filter or a test").text;
      if (filter && !is_jinja_filter(node->text)) fail_jinja(node->line, fmt::format("the filter '{}' is not supported", node->text));
      if (!filter && !is_jinja_test(node->text)) fail_jinja(node->line, fmt::format("the test '{}' is not supported", node->text));
      add(*node, std::move(value));
      if (filter && tokens_.is_operator("(")) arguments(*node);
      value = std::move(node);
      if (!negated) continue;
      JinjaExprPtr inverse = make(ExprKind::Not);
      add(*inverse, std::move(value));
      value = std::move(inverse);
    }
  }

  JinjaExprPtr primary() {
    const JinjaToken& token = tokens_.peek();
    if (token.kind == TokenKind::Name) return name_or_constant();
    if (token.kind == TokenKind::String || token.kind == TokenKind::Integer || token.kind == TokenKind::Float) return literal();
    if (tokens_.accept_operator("(")) {
      JinjaExprPtr inner = choice();
      tokens_.expect_operator(")");
      return inner;
    }
    if (tokens_.is_operator("[")) return list();
    if (tokens_.is_operator("{")) return dict();
    tokens_.unexpected("an expression");
  }

  JinjaExprPtr name_or_constant() {
    static constexpr std::array<std::string_view, 9> kKeywords = {"if", "else", "elif", "for", "in", "is", "and", "or", "not"};
    const std::string& name = tokens_.peek().text;
    if (std::ranges::find(kKeywords, name) != kKeywords.end()) tokens_.unexpected("an expression");
    JinjaExprPtr node = make(ExprKind::Literal);
    tokens_.next();
    if (name == "true" || name == "True") {
      node->value = JinjaValue(true);
    } else if (name == "false" || name == "False") {
      node->value = JinjaValue(false);
    } else if (name != "none" && name != "None") {
      node->kind = ExprKind::Name;
      node->text = name;
    }
    return node;
  }

  JinjaExprPtr literal() {
    JinjaExprPtr node = make(ExprKind::Literal);
    const JinjaToken& token = tokens_.next();
    const char* end = token.text.data() + token.text.size();
    if (token.kind == TokenKind::String) {
      std::string text = token.text;
      while (tokens_.peek().kind == TokenKind::String) text += tokens_.next().text;
      node->value = JinjaValue(std::move(text));
    } else if (token.kind == TokenKind::Integer) {
      std::int64_t number = 0;
      if (std::from_chars(token.text.data(), end, number).ec != std::errc())
        fail_jinja(node->line, fmt::format("the number {} is too large", token.text));
      node->value = JinjaValue(number);
    } else {
      double number = 0;
      if (std::from_chars(token.text.data(), end, number).ec != std::errc())
        fail_jinja(node->line, fmt::format("the number {} is out of range", token.text));
      node->value = JinjaValue(number);
    }
    return node;
  }

  JinjaExprPtr list() {
    JinjaExprPtr node = make(ExprKind::List);
    tokens_.next();
    while (!tokens_.accept_operator("]")) {
      add(*node, choice());
      if (!tokens_.is_operator("]")) tokens_.expect_operator(",");
    }
    return node;
  }

  JinjaExprPtr dict() {
    JinjaExprPtr node = make(ExprKind::Dict);
    tokens_.next();
    while (!tokens_.accept_operator("}")) {
      add(*node, choice());
      tokens_.expect_operator(":");
      add(*node, choice());
      if (!tokens_.is_operator("}")) tokens_.expect_operator(",");
    }
    return node;
  }

  JinjaTokens& tokens_;
  std::size_t depth_ = 0;
};

}  // namespace

JinjaExprPtr parse_jinja_expression(JinjaTokens& tokens, bool with_choice) {
  ExpressionParser parser(tokens);
  return with_choice ? parser.choice() : parser.either();
}

}  // namespace meshseek
