#include "base/mapped_file.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/zeroed_memory.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

static_assert(!std::is_copy_constructible_v<MappedFile> && !std::is_copy_assignable_v<MappedFile>);

class MappedFiles : public testing::Test {
 protected:
  Path write(std::string_view name, std::string_view content) const {
    const Path path = folder_.path() / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  TemporaryFolder folder_;
};

std::string text(const MappedFile& file) { return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}; }

TEST_F(MappedFiles, ShowTheWholeFileAndItsPath) {
  const Path path = write("a", "some\nbytes");
  const MappedFile file(path);
  EXPECT_EQ(text(file), "some\nbytes");
  EXPECT_EQ(file.path(), path);
}

TEST_F(MappedFiles, AreEmptyForAnEmptyFile) { EXPECT_TRUE(MappedFile(write("a", "")).bytes().empty()); }

/// So that the kernel can map huge pages of its page cache as such.
TEST_F(MappedFiles, BeginAtAHugePageWhenTheyAreAsLargeAsOne) {
  for (const std::size_t size : {kHugePage, kHugePage + 1, 3 * kHugePage - 1}) {
    std::string content(size, 'a');
    content.back() = 'z';
    const MappedFile file(write("a", content));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.bytes().data()) % kHugePage, 0U) << size;
    EXPECT_TRUE(text(file) == content) << size;
  }
}

TEST_F(MappedFiles, ReadTheSameWhenThePageCacheHasForgottenThem) {
  const Path path = write("a", std::string(3 * kHugePage, 'a'));
  flush_to_disk(path);
  forget_cached(path);
  EXPECT_TRUE(text(MappedFile(path)) == std::string(3 * kHugePage, 'a'));
  forget_cached(folder_.path() / "missing");  // only a hint: no error
}

TEST_F(MappedFiles, StayReadableWhenTheFileIsDeleted) {
  const Path path = write("a", "bytes");
  const MappedFile file(path);
  std::filesystem::remove(path);
  EXPECT_EQ(text(file), "bytes");
}

TEST_F(MappedFiles, MoveWithoutCopyingAndLeaveNothingBehind) {
  MappedFile first(write("a", "bytes"));
  const std::byte* address = first.bytes().data();
  const MappedFile second(std::move(first));
  EXPECT_EQ(second.bytes().data(), address);
  EXPECT_EQ(text(second), "bytes");
  EXPECT_TRUE(first.bytes().empty());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move): a moved-from file is an empty one
}

TEST_F(MappedFiles, TakeOverAnotherFileByAssignment) {
  MappedFile file(write("a", "first"));
  const Path path = write("b", "second");
  file = MappedFile(path);
  EXPECT_EQ(text(file), "second");
  EXPECT_EQ(file.path(), path);
}

TEST_F(MappedFiles, RefuseAMissingFileByName) {
  const Path path = folder_.path() / "missing";
  EXPECT_THAT([&] { MappedFile{path}; },
              ThrowsMessage<Error>(AllOf(StartsWith(fmt::format("[{}] cannot open", path.string())), HasSubstr("No such file"))));
}

TEST_F(MappedFiles, RefuseAFolder) {
  EXPECT_THAT([&] { MappedFile{folder_.path()}; },
              ThrowsMessage<Error>(fmt::format("[{}] is not a regular file; expected a readable file", folder_.path().string())));
}

TEST_F(MappedFiles, RefuseADevice) {
  EXPECT_THAT([] { MappedFile{"/dev/null"}; }, ThrowsMessage<Error>(HasSubstr("[/dev/null] is not a regular file")));
}

TEST_F(MappedFiles, RefuseALinkThatLeadsNowhereOrToItself) {
  std::filesystem::create_symlink("nowhere", folder_.path() / "a");
  std::filesystem::create_symlink("b", folder_.path() / "b");
  EXPECT_THROW(MappedFile(folder_.path() / "a"), Error);
  EXPECT_THROW(MappedFile(folder_.path() / "b"), Error);
}

}  // namespace
}  // namespace meshseek
