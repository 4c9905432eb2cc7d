#include "hf/jinja_parser.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace meshseek {
namespace {

using StatementKind = JinjaStatement::Kind;
using TokenKind = JinjaToken::Kind;

constexpr std::size_t kMaxBlockDepth = 200;

std::string_view kind_name(TokenKind kind) {
  switch (kind) {
    case TokenKind::Text:
      return "text";
    case TokenKind::OutputBegin:
      return "'{{'";
    case TokenKind::OutputEnd:
      return "'}}'";
    case TokenKind::BlockBegin:
      return "'{%'";
    case TokenKind::BlockEnd:
      return "'%}'";
    case TokenKind::End:
      return "the end of the template";
    default:
      return "";
  }
}

class TemplateParser {
 public:
  explicit TemplateParser(std::string_view source) : tokens_(lex_jinja(source)) {}

  JinjaBlock run() {
    JinjaBlock out = block({});
    if (tokens_.peek().kind != TokenKind::End) tokens_.unexpected("the end of the template");
    return out;
  }

 private:
  /// Statements up to one of the `ends` (its name is left as the next token), or to the end of the template when there are none.
  JinjaBlock block(std::initializer_list<std::string_view> ends) {
    if (++depth_ > kMaxBlockDepth) fail_jinja(tokens_.peek().line, fmt::format("blocks nest deeper than {} levels", kMaxBlockDepth));
    JinjaBlock out;
    for (;;) {
      const JinjaToken& token = tokens_.peek();
      if (token.kind == TokenKind::End) {
        if (ends.size() != 0) fail_jinja(token.line, fmt::format("the template ends without '{}'", *(ends.end() - 1)));
        break;
      }
      if (token.kind == TokenKind::BlockBegin) {
        tokens_.next();
        if (tokens_.peek().kind == TokenKind::Name && std::ranges::find(ends, tokens_.peek().text) != ends.end()) break;
        out.push_back(statement());
      } else {
        out.push_back(text_or_output());
      }
    }
    --depth_;
    return out;
  }

  JinjaStatement make(StatementKind kind) const {
    JinjaStatement out;
    out.kind = kind;
    out.line = tokens_.peek().line;
    return out;
  }

  JinjaStatement text_or_output() {
    JinjaStatement out = make(StatementKind::Text);
    const JinjaToken& token = tokens_.next();
    if (token.kind == TokenKind::Text) {
      out.text = token.text;
      return out;
    }
    out.kind = StatementKind::Output;
    out.expr = parse_jinja_expression(tokens_);
    tokens_.expect(TokenKind::OutputEnd, "'}}'");
    return out;
  }

  JinjaStatement statement() {
    if (tokens_.accept_name("if")) return if_statement();
    if (tokens_.accept_name("for")) return for_statement();
    if (tokens_.accept_name("set")) return set_statement();
    const JinjaToken& token = tokens_.peek();
    fail_jinja(token.line, fmt::format("the statement '{}' is not supported here", token.text));
  }

  void end_block() { tokens_.expect(TokenKind::BlockEnd, "'%}'"); }

  /// Behind `if` or `elif`; an `elif` is an `if` inside of `otherwise`.
  JinjaStatement if_statement() {
    JinjaStatement out = make(StatementKind::If);
    out.expr = parse_jinja_expression(tokens_);
    end_block();
    out.body = block({"elif", "else", "endif"});
    if (tokens_.accept_name("elif")) {
      if (++depth_ > kMaxBlockDepth)
        fail_jinja(out.line, fmt::format("blocks nest deeper than {} levels, an 'elif' being one", kMaxBlockDepth));
      out.otherwise.push_back(if_statement());
      --depth_;
      return out;
    }
    if (tokens_.accept_name("else")) {
      end_block();
      out.otherwise = block({"endif"});
    }
    tokens_.next();
    end_block();
    return out;
  }

  JinjaStatement for_statement() {
    JinjaStatement out = make(StatementKind::For);
    do {
      out.targets.push_back(tokens_.expect(TokenKind::Name, "the name of a loop variable").text);
    } while (tokens_.accept_operator(","));
    if (!tokens_.accept_name("in")) tokens_.unexpected("'in'");
    out.expr = parse_jinja_expression(tokens_, false);
    if (tokens_.accept_name("if")) out.filter = parse_jinja_expression(tokens_);
    end_block();
    out.body = block({"else", "endfor"});
    if (tokens_.accept_name("else")) {
      end_block();
      out.otherwise = block({"endfor"});
    }
    tokens_.next();
    end_block();
    return out;
  }

  JinjaStatement set_statement() {
    JinjaStatement out = make(StatementKind::Set);
    out.targets.push_back(tokens_.expect(TokenKind::Name, "the name of a variable").text);
    if (tokens_.accept_operator(".")) {
      out.kind = StatementKind::SetAttribute;
      out.text = tokens_.expect(TokenKind::Name, "the name of an attribute").text;
    } else {
      while (tokens_.accept_operator(",")) out.targets.push_back(tokens_.expect(TokenKind::Name, "the name of a variable").text);
    }
    tokens_.expect_operator("=");
    do {
      out.values.push_back(parse_jinja_expression(tokens_));
    } while (tokens_.accept_operator(","));
    if (out.values.size() != 1 && out.values.size() != out.targets.size()) {
      fail_jinja(out.line, fmt::format("{} values for {} variables", out.values.size(), out.targets.size()));
    }
    end_block();
    return out;
  }

  JinjaTokens tokens_;
  std::size_t depth_ = 0;
};

}  // namespace

bool JinjaTokens::accept_operator(std::string_view text) {
  const bool found = is_operator(text);
  if (found) next();
  return found;
}

bool JinjaTokens::accept_name(std::string_view text) {
  const bool found = is_name(text);
  if (found) next();
  return found;
}

const JinjaToken& JinjaTokens::expect(JinjaToken::Kind kind, std::string_view what) {
  if (peek().kind != kind) unexpected(what);
  return next();
}

void JinjaTokens::expect_operator(std::string_view text) {
  if (!accept_operator(text)) unexpected(fmt::format("'{}'", text));
}

void JinjaTokens::unexpected(std::string_view expected) const {
  const JinjaToken& token = peek();
  const std::string_view name = kind_name(token.kind);
  fail_jinja(token.line,
             fmt::format("{} where {} should be", name.empty() ? fmt::format("'{}'", token.text) : std::string(name), expected));
}

JinjaBlock parse_jinja(std::string_view source) { return TemplateParser(source).run(); }

}  // namespace meshseek
