/// One entry per operator: how to run it again from a captured call.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/serialise.hpp"
#include "ops/capture.hpp"
#include "stage3_run/capture_file.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

/// The tensors of one call by name. Captures come from files: every look-up is checked.
class ReplayInputs {
 public:
  explicit ReplayInputs(std::string where) : where_(std::move(where)) {}

  void add(const std::string& name, Tensor tensor) { tensors_[name] = std::move(tensor); }
  /// \throws Error "has no input ..."
  const Tensor& at(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;
  std::vector<std::int64_t> integers(const std::string& name) const;
  const std::string& where() const { return where_; }

 private:
  std::string where_;
  std::map<std::string, Tensor> tensors_;
};

/// Runs the operator; may write to its inputs.
using Rerun = std::function<CallValues(const ReplayInputs& inputs)>;

/// Config, arguments and weights of one call.
struct ReplayCall {
  std::string where = {};
  Tree config = {};
  Tree arguments = {};
  const CapturedCall* call = nullptr;
  WeightLoader* loader = nullptr;

  /// \throws Error when absent or outside of [min, max]
  std::int64_t integer(const std::string& name, std::int64_t min, std::int64_t max) const;
  DataType dtype(const std::string& name) const;
  /// The typed config with its weights loaded. \throws ConfigError as from_tree() and WeightLoader::load().
  template <class Config>
  Config typed_config() const {
    Config typed = from_tree<Config>(config, where + " config");
    fill_weights(typed, "");
    return typed;
  }

 private:
  Tensor load_weight(const WeightSlot& slot, const std::string& name) const;

  template <HasFields Config>
  void fill_weights(Config& typed, const std::string& prefix) const {
    for_each_field(typed, [&](std::string_view name, auto& member) {
      using Member = std::remove_cvref_t<decltype(member)>;
      const std::string path = prefix + std::string(name);
      if constexpr (std::is_same_v<Member, WeightSlot>)
        member.tensor = load_weight(member, path);
      else if constexpr (HasFields<Member>)
        fill_weights(member, path + ".");
    });
  }
};

struct ReplayOperator {
  std::string_view op;         ///< "linear", as captured
  std::string_view config_op;  ///< kOp of its config; empty for operators without a config
  Rerun (*prepare)(const ReplayCall& call);
};

std::span<const ReplayOperator> replay_operators();
/// \throws Error naming `where` when no operator has this name.
const ReplayOperator& find_replay_operator(std::string_view op, const std::string& where);

}  // namespace meshseek
