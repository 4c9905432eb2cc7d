/// A matmul program config applied to one product: what each core computes. The problem, the plan and the kernel are three things.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ops/linear_config.hpp"

namespace meshseek {

/// Sizes in elements. Core c computes rows [row_core * rows_per_core, ..) and columns [col_core * cols_per_core, ..) of the result.
struct MatmulPlan {
  std::int64_t row_cores = 1;    ///< shares of the rows of x
  std::int64_t col_cores = 1;    ///< shares of the outputs
  bool cores_by_column = false;  ///< core = col_core * row_cores + row_core instead of row_core * col_cores + col_core
  std::int64_t rows_per_core = 0;
  std::int64_t cols_per_core = 0;  ///< stacks: columns of one piece of work
  std::int64_t k_block = 0;        ///< values of K decoded and multiplied at once
  std::int64_t row_block = 0;      ///< rows of x multiplied with one slab at once
  std::int64_t col_block = 0;      ///< outputs decoded at once
  std::int64_t tile_rows = 0;      ///< rows of one matrix from which on tiles are used; 0: never. K is then cut at multiples of 512
  std::optional<UnaryOpType> activation = {};

  std::int64_t num_cores() const { return row_cores * col_cores; }
};

/// \param sizes m is the largest number of rows that one matrix of a stack meets
/// \throws ShapeError when the program does not cover the product (more rows or outputs than its cores take), ConfigError when it cannot serve a stack
MatmulPlan make_matmul_plan(const MatmulProgramConfig& program, const MatmulSizes& sizes, std::string_view op);

/// The program of one call: program_config, else what program_rule gives, else the standard rule of the device (direct calls without a run config).
MatmulProgramConfig resolve_program(const LinearConfig& cfg, const MatmulSizes& sizes, const DeviceDescription& device);

/// One line: "2 cores: 1 x 2, each 32 x 512, k block 256, slab 32 x 32, tiles from 1 rows on".
std::string to_string(const MatmulPlan& plan);

}  // namespace meshseek
