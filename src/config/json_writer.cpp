/// Writing of JSON text.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>

#include "base/error.hpp"
#include "config/tree.hpp"

namespace meshseek {
namespace {

/// Bytes of the well-formed UTF-8 character at the start of `text`; 0 when there is none (Unicode 15, table 3-7).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned lead = byte(0), second = byte(1);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong = lead == 0xe0 && second < 0xa0;
    const bool surrogate = lead == 0xed && second > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool overlong = lead == 0xf0 && second < 0x90;
    const bool beyond_unicode = lead == 0xf4 && second > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond_unicode ? 4 : 0;
  }
  return 0;
}

void write_escaped(std::string& out, char byte) {
  switch (byte) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(byte) < 0x20) {
    out += fmt::format("\\u{:04x}", static_cast<unsigned>(byte));
  } else {
    out += byte;
  }
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) throw ConfigError(fmt::format("[to_json] a string is not UTF-8: byte 0x{:02x}", static_cast<unsigned char>(text[0])));
    if (length == 1) {
      write_escaped(out, text[0]);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out += '"';
}

void write_double(std::string& out, double value) {
  if (!std::isfinite(value)) throw ConfigError(fmt::format("[to_json] JSON has no way to write the number {}", value));
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  const std::string_view digits(buffer, static_cast<std::size_t>(end - buffer));
  out += digits;
  // Without a point the value would be read back as an integer.
  if (digits.find_first_of(".e") == std::string_view::npos) out += ".0";
}

bool is_scalar(const Tree& tree) { return !tree.is_array() && !tree.is_object(); }

class Writer {
 public:
  explicit Writer(bool one_line) : one_line_(one_line) {}

  std::string take() { return std::move(out_); }

  void write(const Tree& tree, int depth) {
    if (tree.is_object() || tree.is_array()) {
      if (depth >= kMaxTreeDepth) throw ConfigError(fmt::format("[to_json] the nesting is deeper than {} levels", kMaxTreeDepth));
      tree.is_object() ? write_object(tree.as_object(""), depth) : write_array(tree.as_array(""), depth);
    } else if (tree.is_string()) {
      write_string(out_, tree.as_string(""));
    } else if (tree.is_integer()) {
      out_ += fmt::format_int(tree.as_integer("")).str();
    } else if (tree.is_number()) {
      write_double(out_, tree.as_number(""));
    } else {
      out_ += tree.is_null() ? "null" : tree.as_bool("") ? "true" : "false";
    }
  }

 private:
  void break_line(int depth) {
    if (one_line_) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(depth) * 2, ' ');
  }

  void write_object(const Tree::Object& members, int depth) {
    out_ += '{';
    bool first = true;
    for (const auto& [key, value] : members) {
      if (!first) out_ += ',';
      first = false;
      break_line(depth + 1);
      write_string(out_, key);
      out_ += one_line_ ? ":" : ": ";
      write(value, depth + 1);
    }
    if (!first) break_line(depth);
    out_ += '}';
  }

  void write_array(const Tree::Array& elements, int depth) {
    const bool broken = !one_line_ && !std::all_of(elements.begin(), elements.end(), is_scalar);
    out_ += '[';
    bool first = true;
    for (const Tree& element : elements) {
      if (!first) out_ += one_line_ || broken ? "," : ", ";
      first = false;
      if (broken) break_line(depth + 1);
      write(element, depth + 1);
    }
    if (broken) break_line(depth);
    out_ += ']';
  }

  bool one_line_ = false;
  std::string out_;
};

}  // namespace

std::string to_json(const Tree& tree) {
  Writer writer(false);
  writer.write(tree, 0);
  return writer.take() + "\n";
}

std::string to_json_line(const Tree& tree) {
  Writer writer(true);
  writer.write(tree, 0);
  return writer.take();
}

}  // namespace meshseek
