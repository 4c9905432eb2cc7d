/// The entry of a fields() list (config/fields.hpp), here so that structs of every room can have one.
#pragma once
#include <string_view>

namespace meshseek {

/// One member of a config struct: its name in JSON, where it lies, and one line of help.
template <class Struct, class Member>
struct Field {
  using member_type = Member;

  std::string_view name = {};
  Member Struct::* member = nullptr;
  std::string_view help = {};
};

template <class Struct, class Member>
constexpr Field<Struct, Member> field(std::string_view name, Member Struct::* member, std::string_view help) {
  return {name, member, help};
}

}  // namespace meshseek
