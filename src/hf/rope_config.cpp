#include "hf/rope_config.hpp"

#include <fmt/format.h>

namespace meshseek {
namespace {

constexpr std::string_view kTypes[] = {"default", "yarn"};

/// Yarn's settings beyond type and theta.
void read_yarn(const ConfigReader& settings, RopeConfig& rope) {
  rope.factor = settings.positive("factor");
  if (rope.factor < 1.0) settings.fail("factor", fmt::format("is {}; expected at least 1", rope.factor));
  rope.original_max_position_embeddings = settings.integer("original_max_position_embeddings", kPositions);
  rope.beta_fast = settings.positive_or("beta_fast", rope.beta_fast);
  rope.beta_slow = settings.positive_or("beta_slow", rope.beta_slow);
  if (rope.beta_fast < rope.beta_slow) {
    settings.fail("beta_fast", fmt::format("is {}; expected at least beta_slow, which is {}", rope.beta_fast, rope.beta_slow));
  }
  rope.mscale = settings.not_negative_or("mscale", 0.0);
  rope.mscale_all_dim = settings.not_negative_or("mscale_all_dim", 0.0);
  if (settings.find("attention_factor") != nullptr) rope.attention_factor = settings.positive("attention_factor");
}

std::string read_type(const ConfigReader& settings) {
  // Both keys occur in the wild; `rope_type` is the newer one.
  const std::string_view key = settings.find("rope_type") != nullptr ? "rope_type" : "type";
  if (settings.find(key) == nullptr && settings.find("factor") != nullptr) {
    settings.fail("type", "is missing beside a factor; expected \"yarn\" or \"default\"; use the checkpoint's own config");
  }
  return settings.choice_or(key, kTypes, "default");
}

}  // namespace

RopeConfig read_rope_config(const ConfigReader& config) {
  RopeConfig rope;
  rope.interleave = config.boolean_or("rope_interleave", true);
  rope.theta = config.positive_or("rope_theta", rope.theta);
  const std::string_view spelling = config.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  if (const Tree* const object = config.find(spelling)) {
    const ConfigReader settings(*object, config.where(spelling));
    rope.theta = settings.positive_or("rope_theta", rope.theta);
    rope.type = read_type(settings);
    if (rope.type == "yarn") read_yarn(settings, rope);
    if (settings.find("llama_4_scaling_beta") != nullptr) {
      settings.fail("llama_4_scaling_beta", "is set; scaling of queries by position is not supported; use another model");
    }
  }
  if (rope.theta <= 1.0) config.fail("rope_theta", fmt::format("is {}; expected a base above 1", rope.theta));
  return rope;
}

}  // namespace meshseek
