#include "hf/jinja_eval.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "hf/jinja_builtins.hpp"

namespace meshseek {
namespace {

using ExprKind = JinjaExpr::Kind;

constexpr std::size_t kMaxOutputBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxSteps = 50'000'000;

/// Where a loop stands.
struct Loop {
  std::size_t index = 0;
  std::size_t length = 0;
};

/// Variables of the template or of one turn of a loop.
struct Scope {
  std::unordered_map<std::string, JinjaValue> variables = {};
  std::optional<Loop> loop = {};
};

class Evaluator {
 public:
  explicit Evaluator(const JinjaValue& context) : scopes_(1) {
    for (const auto& [name, value] : context.dict()->members) scopes_[0].variables.emplace(name, value);
  }

  std::string run(const JinjaBlock& blocks) {
    try {
      block(blocks);
    } catch (const JinjaFault& fault) {
      fail_jinja(line_, fault.what());
    }
    return std::move(out_);
  }

 private:
  void charge(std::size_t steps) {
    steps_ += steps;
    if (steps_ > kMaxSteps) throw JinjaFault(fmt::format("the template takes more than {} steps", kMaxSteps));
  }

  void print(const std::string& text) {
    if (text.size() > kMaxOutputBytes - out_.size()) throw JinjaFault(fmt::format("the text is longer than {} bytes", kMaxOutputBytes));
    out_ += text;
  }

  void block(const JinjaBlock& statements) {
    for (const JinjaStatement& statement : statements) execute(statement);
  }

  void execute(const JinjaStatement& statement) {
    line_ = statement.line;
    charge(1);
    switch (statement.kind) {
      case JinjaStatement::Kind::Text:
        print(statement.text);
        break;
      case JinjaStatement::Kind::Output:
        print(evaluate(*statement.expr).to_text());
        break;
      case JinjaStatement::Kind::If:
        block(evaluate(*statement.expr).truth() ? statement.body : statement.otherwise);
        break;
      case JinjaStatement::Kind::For:
        loop(statement);
        break;
      case JinjaStatement::Kind::Set:
        assign(statement);
        break;
      case JinjaStatement::Kind::SetAttribute:
        set_attribute(statement);
        break;
    }
  }

  void bind(const std::vector<std::string>& targets, const JinjaValue& value) {
    auto& variables = scopes_.back().variables;
    if (targets.size() == 1) {
      variables[targets[0]] = value;
      return;
    }
    const std::vector<JinjaValue> parts = jinja_elements(value);
    if (parts.size() != targets.size()) throw JinjaFault(fmt::format("{} values for {} variables", parts.size(), targets.size()));
    for (std::size_t i = 0; i < parts.size(); ++i) variables[targets[i]] = parts[i];
  }

  void assign(const JinjaStatement& statement) {
    if (statement.values.size() == 1) {
      bind(statement.targets, evaluate(*statement.values[0]));
      return;
    }
    std::vector<JinjaValue> values;
    for (const JinjaExprPtr& value : statement.values) values.push_back(evaluate(*value));
    for (std::size_t i = 0; i < values.size(); ++i) scopes_.back().variables[statement.targets[i]] = values[i];
  }

  void set_attribute(const JinjaStatement& statement) {
    const JinjaValue value = evaluate(*statement.values[0]);
    const JinjaValue target = lookup(statement.targets[0]);
    if (target.name_space() == nullptr) throw JinjaFault(fmt::format("an attribute of {} is set, not of a namespace", target.describe()));
    if (value.name_space() != nullptr) throw JinjaFault("a namespace inside of a namespace is not supported");
    target.name_space()->attributes[statement.text] = value;
  }

  /// Every turn has variables of its own; what it sets is gone with it.
  void loop(const JinjaStatement& statement) {
    const JinjaValue source = evaluate(*statement.expr);
    charge(source.weight());
    std::vector<JinjaValue> items = jinja_elements(source);
    if (statement.filter) {
      std::erase_if(items, [&](const JinjaValue& item) {
        scopes_.emplace_back();
        bind(statement.targets, item);
        const bool keep = evaluate(*statement.filter).truth();
        scopes_.pop_back();
        return !keep;
      });
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      charge(1);
      scopes_.emplace_back();
      scopes_.back().loop = Loop{i, items.size()};
      bind(statement.targets, items[i]);
      block(statement.body);
      scopes_.pop_back();
    }
    if (!items.empty() || statement.otherwise.empty()) return;
    scopes_.emplace_back();
    block(statement.otherwise);
    scopes_.pop_back();
  }

  JinjaValue lookup(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->variables.find(name);
      if (found != scope->variables.end()) return found->second;
      if (name == "loop" && scope->loop) throw JinjaFault("'loop' is used as a value; only its attributes are supported");
    }
    return JinjaValue::undefined(name);
  }

  /// The innermost loop when `expr` is the name `loop` and stands for it; null otherwise.
  const Loop* loop_of(const JinjaExpr& expr) const {
    if (expr.kind != ExprKind::Name || expr.text != "loop") return nullptr;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (scope->variables.contains("loop")) return nullptr;
      if (scope->loop) return &*scope->loop;
    }
    return nullptr;
  }

  static JinjaValue loop_attribute(const Loop& loop, const std::string& name) {
    const auto number = [](std::size_t value) { return JinjaValue(static_cast<std::int64_t>(value)); };
    if (name == "index") return number(loop.index + 1);
    if (name == "index0") return number(loop.index);
    if (name == "length") return number(loop.length);
    if (name == "first") return JinjaValue(loop.index == 0);
    if (name == "last") return JinjaValue(loop.index + 1 == loop.length);
    throw JinjaFault(fmt::format("'loop.{}' is not supported", name));
  }

  /// Evaluates an operand and counts the work that its size means for the operation.
  JinjaValue operand(const JinjaExpr& expr, std::size_t part) {
    JinjaValue value = evaluate(*expr.parts[part]);
    charge(value.weight());
    line_ = expr.line;
    return value;
  }

  JinjaValue evaluate(const JinjaExpr& expr) {
    charge(1);
    line_ = expr.line;
    switch (expr.kind) {
      case ExprKind::Literal:
        return expr.value;
      case ExprKind::Name:
        return lookup(expr.text);
      case ExprKind::List:
        return list(expr);
      case ExprKind::Dict:
        return dict(expr);
      case ExprKind::Attribute:
        return attribute(expr);
      case ExprKind::Item:
        return item(expr);
      case ExprKind::Slice:
        return slice(expr);
      case ExprKind::Call:
        return call(expr);
      case ExprKind::Filter:
        return filter(expr);
      case ExprKind::Test:
        return JinjaValue(apply_jinja_test(expr.text, evaluate(*expr.parts[0])));
      case ExprKind::Not:
        return JinjaValue(!evaluate(*expr.parts[0]).truth());
      case ExprKind::Negate:
        return jinja_negate(evaluate(*expr.parts[0]));
      case ExprKind::Binary:
        return binary(expr);
      case ExprKind::Compare:
        return compare(expr);
      case ExprKind::And:
        return either(expr, false);
      case ExprKind::Or:
        return either(expr, true);
      case ExprKind::Choice:
        return choice(expr);
    }
    return {};
  }

  JinjaValue list(const JinjaExpr& expr) {
    std::vector<JinjaValue> items;
    for (const JinjaExprPtr& part : expr.parts) items.push_back(evaluate(*part));
    return JinjaValue(std::move(items));
  }

  JinjaValue dict(const JinjaExpr& expr) {
    std::vector<std::pair<std::string, JinjaValue>> members;
    for (std::size_t i = 0; i + 1 < expr.parts.size(); i += 2) {
      const JinjaValue key = evaluate(*expr.parts[i]);
      if (key.string() == nullptr) throw JinjaFault(fmt::format("{} as a key; only strings are supported", key.describe()));
      const auto known = std::ranges::find(members, *key.string(), [](const auto& member) { return member.first; });
      JinjaValue value = evaluate(*expr.parts[i + 1]);
      if (known == members.end()) {
        members.emplace_back(*key.string(), std::move(value));
      } else {
        known->second = std::move(value);
      }
    }
    return JinjaValue(std::move(members));
  }

  /// Python finds the methods of objects here; as values they are true and print as something else than an absent key.
  static void refuse_method(const std::string& name) {
    static constexpr std::array<std::string_view, 11> kMethods = {"items", "keys",   "values",  "get",        "copy",    "pop",
                                                                  "clear", "update", "popitem", "setdefault", "fromkeys"};
    if (std::ranges::find(kMethods, name) == kMethods.end()) return;
    throw JinjaFault(fmt::format(
        "'{}' names a method of objects that is not called; a key of that name must be there and be read with ['{}']", name, name));
  }

  JinjaValue attribute(const JinjaExpr& expr) {
    if (const Loop* current = loop_of(*expr.parts[0])) return loop_attribute(*current, expr.text);
    const JinjaValue object = evaluate(*expr.parts[0]);
    line_ = expr.line;
    if (object.dict() != nullptr) refuse_method(expr.text);
    return get_jinja_attribute(object, expr.text);
  }

  JinjaValue item(const JinjaExpr& expr) {
    const JinjaValue object = evaluate(*expr.parts[0]);
    const JinjaValue key = evaluate(*expr.parts[1]);
    line_ = expr.line;
    if (object.string() != nullptr) charge(object.weight());
    if (object.dict() != nullptr && key.string() != nullptr && object.dict()->find(*key.string()) == nullptr) refuse_method(*key.string());
    return get_jinja_item(object, key);
  }

  JinjaValue slice(const JinjaExpr& expr) {
    const JinjaValue object = operand(expr, 0);
    const JinjaValue start = operand(expr, 1);
    const JinjaValue stop = operand(expr, 2);
    return slice_jinja(object, start, stop, operand(expr, 3));
  }

  JinjaArguments arguments(const JinjaExpr& expr) {
    JinjaArguments out;
    const std::size_t positional = expr.parts.size() - expr.names.size();
    for (std::size_t i = 1; i < expr.parts.size(); ++i) {
      JinjaValue value = evaluate(*expr.parts[i]);
      if (i < positional) {
        out.positional.push_back(std::move(value));
      } else {
        out.keywords.emplace_back(expr.names[i - positional], std::move(value));
      }
    }
    return out;
  }

  JinjaValue call(const JinjaExpr& expr) {
    const JinjaExpr& callee = *expr.parts[0];
    if (callee.kind == ExprKind::Attribute) {
      const JinjaValue object = operand(callee, 0);
      if (object.is_undefined()) throw JinjaFault(fmt::format("{} is used", object.describe()));
      const JinjaArguments given = arguments(expr);
      line_ = expr.line;
      return call_jinja_method(object, callee.text, given);
    }
    const JinjaArguments given = arguments(expr);
    line_ = expr.line;
    if (callee.kind == ExprKind::Name && lookup(callee.text).is_undefined()) {
      if (callee.text == "namespace" && given.positional.empty()) return make_namespace(given);
      if (callee.text == "raise_exception" && given.positional.size() == 1) throw JinjaFault(given.positional[0].to_text());
    }
    throw JinjaFault(callee.kind == ExprKind::Name ? fmt::format("the call of '{}' is not supported", callee.text)
                                                   : std::string("a call of a value"));
  }

  static JinjaValue make_namespace(const JinjaArguments& given) {
    auto space = std::make_shared<JinjaNamespace>();
    for (const auto& [name, value] : given.keywords) {
      if (value.name_space() != nullptr) throw JinjaFault("a namespace inside of a namespace is not supported");
      space->attributes[name] = value;
    }
    return JinjaValue(std::move(space));
  }

  JinjaValue filter(const JinjaExpr& expr) {
    const JinjaValue input = operand(expr, 0);
    const JinjaArguments given = arguments(expr);
    line_ = expr.line;
    return apply_jinja_filter(expr.text, input, given);
  }

  JinjaValue binary(const JinjaExpr& expr) {
    const JinjaValue left = operand(expr, 0);
    const JinjaValue right = operand(expr, 1);
    return jinja_binary(expr.text, left, right);
  }

  JinjaValue compare(const JinjaExpr& expr) {
    JinjaValue left = operand(expr, 0);
    for (std::size_t i = 0; i < expr.names.size(); ++i) {
      JinjaValue right = operand(expr, i + 1);
      if (!jinja_compare(expr.names[i], left, right)) return JinjaValue(false);
      left = std::move(right);
    }
    return JinjaValue(true);
  }

  /// `and` and `or` give an operand, not a boolean.
  JinjaValue either(const JinjaExpr& expr, bool ends_when) {
    JinjaValue left = evaluate(*expr.parts[0]);
    return left.truth() == ends_when ? left : evaluate(*expr.parts[1]);
  }

  JinjaValue choice(const JinjaExpr& expr) {
    if (evaluate(*expr.parts[0]).truth()) return evaluate(*expr.parts[1]);
    return expr.parts.size() == 3 ? evaluate(*expr.parts[2]) : JinjaValue::undefined("the value of an 'if' without 'else'");
  }

  std::vector<Scope> scopes_;
  std::string out_;
  std::size_t steps_ = 0;
  std::size_t line_ = 1;
};

}  // namespace

std::string render_jinja(const JinjaBlock& blocks, const JinjaValue& context) { return Evaluator(context).run(blocks); }

}  // namespace meshseek
