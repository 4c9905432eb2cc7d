#include "stage3_run/replay_operators.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/error.hpp"
#include "config/names.hpp"
#include "ops/binary.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"
#include "ops/embedding.hpp"
#include "ops/flash_mla.hpp"
#include "ops/linear.hpp"
#include "ops/reshard.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotary_embedding.hpp"
#include "ops/router.hpp"
#include "ops/topk.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 40;
constexpr std::int64_t kMostWidth = std::int64_t{1} << 24;  // products with a number of tokens stay within 63 bits
constexpr std::int64_t kMostExperts = std::int64_t{1} << 20;

CallValues only(Tensor y) {
  CallValues out;
  out.add("y", std::move(y));
  return out;
}

/// An operator of one tensor "x" and a config.
template <auto Op, class Config>
Rerun unary(const ReplayCall& call) {
  return [cfg = call.typed_config<Config>()](const ReplayInputs& in) { return only(Op(in.at("x"), cfg)); };
}

/// An operator of "a" and "b".
template <auto Op, class Config>
Rerun binary_of(const ReplayCall& call) {
  return [cfg = call.typed_config<Config>()](const ReplayInputs& in) { return only(Op(in.at("a"), in.at("b"), cfg)); };
}

Rerun prepare_grouped_linear(const ReplayCall& call) {
  return [cfg = call.typed_config<LinearConfig>()](const ReplayInputs& in) {
    return only(grouped_linear(in.at("x"), in.integers("offsets"), cfg));
  };
}

Rerun prepare_embedding(const ReplayCall& call) {
  return [cfg = call.typed_config<EmbeddingConfig>()](const ReplayInputs& in) { return only(embedding(in.at("ids"), cfg)); };
}

Rerun prepare_rotary_embedding(const ReplayCall& call) {
  return [cfg = call.typed_config<RotaryEmbeddingConfig>(), dim = call.integer("rotary_dim", 2, kMostWidth)](const ReplayInputs& in) {
    const std::vector<float> cos = in.floats("cos");
    const std::vector<float> sin = in.floats("sin");
    const RopeTables tables = {.rotary_dim = dim, .cos = {cos.begin(), cos.end()}, .sin = {sin.begin(), sin.end()}};
    if (tables.cos.size() != tables.sin.size()) {
      throw ShapeError(
          fmt::format("[{}] cos has {} values and sin {}; expected equally many", in.where(), tables.cos.size(), tables.sin.size()));
    }
    return only(rotary_embedding(in.at("x"), tables, cfg));
  };
}

Rerun prepare_router(const ReplayCall& call) {
  return [cfg = call.typed_config<RouterConfig>()](const ReplayInputs& in) {
    Routing routing = router(in.at("logits"), cfg);
    CallValues out;
    out.add("indices", std::move(routing.indices)).add("weights", std::move(routing.weights));
    return out;
  };
}

CallValues grouped(const Dispatched& dispatched) {
  CallValues out;
  if (dispatched.rows.rank() > 0) out.add("rows", dispatched.rows);
  out.add("offsets", dispatched.offsets).add("slots", dispatched.slots);
  return out;
}

Rerun prepare_moe_dispatch(const ReplayCall& call) {
  return [cfg = call.typed_config<MoeDispatchConfig>(), num_experts = call.integer("num_experts", 1, kMostExperts)](
             const ReplayInputs& in) { return grouped(moe_dispatch(in.at("x"), {.indices = in.at("indices")}, num_experts, cfg)); };
}

Rerun prepare_moe_dispatch_some(const ReplayCall& call) {
  return [cfg = call.typed_config<MoeDispatchConfig>(), num_groups = call.integer("num_groups", 1, kMostExperts)](const ReplayInputs& in) {
    return grouped(moe_dispatch_some(in.at("x"), {.indices = in.at("indices")}, in.integers("places"), num_groups, cfg));
  };
}

Rerun prepare_group_slots(const ReplayCall& call) {
  return [num_groups = call.integer("num_groups", 1, kMostExperts)](const ReplayInputs& in) {
    return grouped(group_slots({.indices = in.at("indices")}, in.integers("places"), num_groups));
  };
}

Rerun prepare_moe_combine(const ReplayCall& call) {
  return [cfg = call.typed_config<MoeCombineConfig>()](const ReplayInputs& in) {
    const std::vector<std::int64_t> slots = in.integers("slots");
    const Dispatched dispatched = {.slots = {slots.begin(), slots.end()}};
    const Tensor& weights = in.at("weights");
    for (const std::int64_t slot : dispatched.slots) {  // the operator trusts moe_dispatch()
      if (slot >= 0 && slot < weights.volume()) continue;
      throw Error(fmt::format("[{}] slot {} does not exist; expected 0 to {}", in.where(), slot, weights.volume() - 1));
    }
    return only(moe_combine(in.at("rows"), dispatched, {.weights = weights}, cfg));
  };
}

/// The cache as it was: as long as its rows in use.
LatentCache cache_of(const ReplayInputs& in, std::int64_t kv_lora_rank) {
  const Tensor& rows = in.at("cache");
  if (rows.rank() != 2 || kv_lora_rank > rows.dim(1)) {
    throw ShapeError(fmt::format("[{}] the cache is {} and its rank {}; expected [tokens, rank or more]", in.where(),
                                 to_string(rows.shape()), kv_lora_rank));
  }
  return {.rows = rows, .num_tokens = rows.dim(0), .kv_lora_rank = kv_lora_rank};
}

Rerun prepare_flash_mla_prefill(const ReplayCall& call) {
  return [cfg = call.typed_config<FlashMlaConfig>(), rank = call.integer("kv_lora_rank", 1, kMost)](const ReplayInputs& in) {
    return only(flash_mla_prefill(in.at("q"), in.at("k_nope"), in.at("v"), cache_of(in, rank), cfg));
  };
}

Rerun prepare_flash_mla_decode(const ReplayCall& call) {
  return [cfg = call.typed_config<FlashMlaConfig>(), rank = call.integer("kv_lora_rank", 1, kMost)](const ReplayInputs& in) {
    return only(flash_mla_decode(in.at("q_latent"), in.at("q"), cache_of(in, rank), cfg));
  };
}

/// Appends to an empty cache: where in a cache the rows stand is no part of the result.
Rerun prepare_update_cache(const ReplayCall& call) {
  const std::int64_t width = call.integer("width", 1, kMostWidth);
  return [cfg = call.typed_config<UpdateCacheConfig>(), width](const ReplayInputs& in) {
    const Tensor& c_kv = in.at("c_kv");
    const Tensor& k_rope = in.at("k_rope");
    const std::int64_t num_tokens = c_kv.dim(0);
    if (c_kv.volume() + k_rope.volume() != num_tokens * width) {
      throw ShapeError(fmt::format("[{}] c_kv is {} and k_rope {}; expected {} values a token", in.where(), to_string(c_kv.shape()),
                                   to_string(k_rope.shape()), width));
    }
    LatentCache cache = {.rows = Tensor::zeros({num_tokens, width}, cfg.dtype, c_kv.device()), .kv_lora_rank = c_kv.dim(-1)};
    update_cache(cache, c_kv, k_rope, cfg);
    CallValues out;
    out.add("rows", cache.rows);
    return out;
  };
}

Rerun prepare_cached_latents(const ReplayCall& call) {
  const std::int64_t rank = call.integer("kv_lora_rank", 1, kMost);
  return [rank, dtype = call.dtype("dtype")](const ReplayInputs& in) { return only(cached_latents(cache_of(in, rank), dtype)); };
}

Rerun prepare_slice_columns(const ReplayCall& call) {
  return [begin = call.integer("begin", 0, kMost), end = call.integer("end", 0, kMost)](const ReplayInputs& in) {
    return only(slice_columns(in.at("x"), begin, end));
  };
}

Rerun prepare_pad_columns(const ReplayCall& call) {
  return [columns = call.integer("columns", 0, kMostWidth)](const ReplayInputs& in) { return only(pad_columns(in.at("x"), columns)); };
}

Rerun prepare_rms_norm_pre_all_gather(const ReplayCall&) {
  return [](const ReplayInputs& in) { return only(rms_norm_pre_all_gather(in.at("x"))); };
}

Rerun prepare_rms_norm_post_all_gather(const ReplayCall& call) {
  return [cfg = call.typed_config<RmsNormConfig>(), first_column = call.integer("first_column", 0, kMostWidth)](const ReplayInputs& in) {
    return only(rms_norm_post_all_gather(in.at("x"), in.at("squares"), first_column, cfg));
  };
}

Rerun prepare_take_rows(const ReplayCall&) {
  return [](const ReplayInputs& in) { return only(take_rows(in.at("x"), in.integers("rows"))); };
}

Rerun prepare_topk(const ReplayCall& call) {
  return [cfg = call.typed_config<TopKConfig>()](const ReplayInputs& in) {
    TopK result = topk(in.at("x"), cfg);
    CallValues out;
    out.add("values", std::move(result.values)).add("indices", std::move(result.indices));
    return out;
  };
}

Rerun prepare_all_to_all_rows(const ReplayCall& call) {
  return [cfg = call.typed_config<AllToAllRowsConfig>()](const ReplayInputs& in) {
    ReceivedRows received = all_to_all_rows(in.at("x"), in.integers("send_counts"), cfg);
    CallValues out;
    out.add("y", std::move(received.rows)).add("receive_counts", received.receive_counts);
    return out;
  };
}

/// What passes from one device to another has nowhere to go here.
Rerun prepare_between_devices(const ReplayCall&) {
  return [](const ReplayInputs& in) -> CallValues {
    throw Error(fmt::format("[{}] passes a tensor between two devices; expected an operator that one device can run alone", in.where()));
  };
}

constexpr std::array kOperators = {
    ReplayOperator{"linear", LinearConfig::kOp, unary<linear, LinearConfig>},
    ReplayOperator{"grouped_linear", LinearConfig::kOp, prepare_grouped_linear},
    ReplayOperator{"mul", MulConfig::kOp, binary_of<mul, MulConfig>},
    ReplayOperator{"binary", BinaryConfig::kOp, binary_of<binary, BinaryConfig>},
    ReplayOperator{"rms_norm", RmsNormConfig::kOp, unary<rms_norm, RmsNormConfig>},
    ReplayOperator{"rms_norm_post_all_gather", RmsNormConfig::kOp, prepare_rms_norm_post_all_gather},
    ReplayOperator{"embedding", EmbeddingConfig::kOp, prepare_embedding},
    ReplayOperator{"rotary_embedding", RotaryEmbeddingConfig::kOp, prepare_rotary_embedding},
    ReplayOperator{"concat", ConcatConfig::kOp, binary_of<concat, ConcatConfig>},
    ReplayOperator{"router", RouterConfig::kOp, prepare_router},
    ReplayOperator{"moe_dispatch", MoeDispatchConfig::kOp, prepare_moe_dispatch},
    ReplayOperator{"moe_dispatch_some", MoeDispatchConfig::kOp, prepare_moe_dispatch_some},
    ReplayOperator{"moe_combine", MoeCombineConfig::kOp, prepare_moe_combine},
    ReplayOperator{"flash_mla_prefill", FlashMlaConfig::kOp, prepare_flash_mla_prefill},
    ReplayOperator{"flash_mla_decode", FlashMlaConfig::kOp, prepare_flash_mla_decode},
    ReplayOperator{"update_cache", UpdateCacheConfig::kOp, prepare_update_cache},
    ReplayOperator{"topk", TopKConfig::kOp, prepare_topk},
    ReplayOperator{"reshard", ReshardConfig::kOp, unary<reshard, ReshardConfig>},
    ReplayOperator{"all_reduce", AllReduceConfig::kOp, unary<all_reduce, AllReduceConfig>},
    ReplayOperator{"all_gather", AllGatherConfig::kOp, unary<all_gather, AllGatherConfig>},
    ReplayOperator{"reduce_scatter", ReduceScatterConfig::kOp, unary<reduce_scatter, ReduceScatterConfig>},
    ReplayOperator{"all_to_all", AllToAllConfig::kOp, unary<all_to_all, AllToAllConfig>},
    ReplayOperator{"all_to_all_rows", AllToAllRowsConfig::kOp, prepare_all_to_all_rows},
    ReplayOperator{"send", SendConfig::kOp, prepare_between_devices},
    ReplayOperator{"recv", RecvConfig::kOp, prepare_between_devices},
    ReplayOperator{"broadcast", BroadcastConfig::kOp, unary<broadcast, BroadcastConfig>},
    ReplayOperator{"mesh_partition", MeshPartitionConfig::kOp, unary<mesh_partition, MeshPartitionConfig>},
    ReplayOperator{"cached_latents", "", prepare_cached_latents},
    ReplayOperator{"slice_columns", "", prepare_slice_columns},
    ReplayOperator{"pad_columns", "", prepare_pad_columns},
    ReplayOperator{"take_rows", "", prepare_take_rows},
    ReplayOperator{"group_slots", "", prepare_group_slots},
    ReplayOperator{"rms_norm_pre_all_gather", "", prepare_rms_norm_pre_all_gather},
};

}  // namespace

const Tensor& ReplayInputs::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw Error(fmt::format("[{}] has no input \"{}\"; capture again", where_, name));
  return found->second;
}

std::vector<float> ReplayInputs::floats(const std::string& name) const {
  const auto values = at(name).data<float>();
  return {values.begin(), values.end()};
}

std::vector<std::int64_t> ReplayInputs::integers(const std::string& name) const {
  const auto values = at(name).data<std::int32_t>();
  return {values.begin(), values.end()};
}

std::int64_t ReplayCall::integer(const std::string& name, std::int64_t min, std::int64_t max) const {
  const Tree* found = arguments.find(name);
  if (found == nullptr) throw Error(fmt::format("[{}] has no argument \"{}\"; capture again", where, name));
  const std::int64_t value = found->as_integer(fmt::format("{} {}", where, name));
  if (value < min || value > max) throw Error(fmt::format("[{}] {} is {}; expected {} to {}", where, name, value, min, max));
  return value;
}

DataType ReplayCall::dtype(const std::string& name) const {
  const Tree* found = arguments.find(name);
  if (found == nullptr) throw Error(fmt::format("[{}] has no argument \"{}\"; capture again", where, name));
  return from_tree<DataType>(*found, fmt::format("{} {}", where, name));
}

Tensor ReplayCall::load_weight(const WeightSlot& slot, const std::string& name) const {
  for (const CapturedWeight& weight : call->weights) {
    if (weight.name != name) continue;
    if (weight.path.empty()) throw Error(fmt::format("[{}] the weight {} was not read from a store; it cannot be replayed", where, name));
    Tree entry;
    entry.set("path", Tree(weight.path));
    entry.set("dtype", Tree(to_string(weight.dtype)));
    const std::string place = fmt::format("{} {}", where, name);
    return loader->load(entry, slot.shape, ConfigPath(place));
  }
  throw Error(fmt::format("[{}] names no file for the weight {}; capture again", where, name));
}

std::span<const ReplayOperator> replay_operators() { return kOperators; }

const ReplayOperator& find_replay_operator(std::string_view op, const std::string& where) {
  std::vector<std::string_view> names;
  for (const ReplayOperator& known : kOperators) {
    if (known.op == op) return known;
    names.push_back(known.op);
  }
  throw Error(fmt::format("[{}] there is no operator {}{}", where, in_quotes(op), known_names_hint(op, names)));
}

}  // namespace meshseek
