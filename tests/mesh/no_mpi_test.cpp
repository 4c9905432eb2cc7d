// A build without MPI (MESHSEEK_MPI=OFF).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mesh/mpi_mesh.hpp"

namespace meshseek {
namespace {

TEST(WithoutMpi, JoiningProcessesSaysWhatIsMissingAndWhatToDo) {
  try {
    const MpiMesh mesh({1, 2});
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                ::testing::AllOf(::testing::HasSubstr("built without MPI"), ::testing::HasSubstr("libopenmpi-dev and openmpi-bin"),
                                 ::testing::HasSubstr("-DMESHSEEK_MPI=ON")));
  }
}

}  // namespace
}  // namespace meshseek
