/// Table look-up.
#pragma once
#include "ops/embedding_config.hpp"

namespace meshseek {

/// \param ids [T] uint32  \return [T, hidden]  \throws Error naming the first id beyond the table and its position. Source: ttnn.embedding.
Tensor embedding(const Tensor& ids, const EmbeddingConfig& cfg);

}  // namespace meshseek
