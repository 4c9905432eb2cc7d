/// The same answer everywhere: what a mesh must give, whatever its shape and its plan (float32 weights, float32 on the wire).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "tests/support/mesh_engine.hpp"

namespace meshseek::testing {

inline constexpr double kLogitsMax = 1e-4;

Path checkpoint_folder(const std::string& name);
std::vector<std::int64_t> prompt_of(const std::string& checkpoint, const std::string& suffix);
/// Prompts of 3, 10, 17, ... tokens.
std::vector<std::int64_t> batch_prompt(std::int64_t idx);

// Each compares a checkpoint on meshes with one device: logits within kLogitsMax, equal greedy text and equal choices of experts.

/// Prompts of 1, 7 and 64 tokens, all positions, and what is decoded after them.
void expect_same_answers(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan);
/// Users with prompts of different lengths, decoded at once.
void expect_same_batch(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan);
/// A prompt in pieces, of which the last logits alone are asked for.
void expect_same_pieces(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan);
/// The residual stream and the routing of every layer.
void expect_same_trace(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan);

}  // namespace meshseek::testing
