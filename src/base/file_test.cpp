#include "base/file.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using testing::ThrowsMessage;

class File : public testing::Test {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  Path path(std::string_view name) const { return folder_.path() / name; }

  TemporaryFolder folder_;
};

/// While it lives, no file of this process grows beyond `bytes`: what a full disk looks like to the code.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit = {bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_ = {};
  void (*old_handler_)(int);
};

TEST_F(File, ReadsBackWhatWasWritten) {
  const std::string content("line\n\0\xff last", 12);
  write_file_atomically(path("a"), content);
  EXPECT_EQ(read_text_file(path("a")), content);
}

TEST_F(File, WritesAndReadsAnEmptyFile) {
  write_file_atomically(path("a"), "");
  EXPECT_EQ(read_text_file(path("a")), "");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(File, WritesBytesOfManyPages) {
  std::vector<std::byte> content(3'000'001);
  for (std::size_t idx = 0; idx < content.size(); ++idx) content[idx] = static_cast<std::byte>(idx * 31 >> 3);
  write_file_atomically(path("a"), content);
  const MappedFile file(path("a"));
  EXPECT_TRUE(std::equal(content.begin(), content.end(), file.bytes().begin(), file.bytes().end()));
}

TEST_F(File, WritesPiecesOneAfterTheOther) {
  const std::array<std::string_view, 3> texts = {"first,", "", "last"};
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(texts.size());
  for (const std::string_view text : texts) pieces.push_back(std::as_bytes(std::span(text)));
  write_file_atomically(path("a"), pieces);
  EXPECT_EQ(read_text_file(path("a")), "first,last");
}

TEST_F(File, ReplacesTheWholeFileAndLeavesNothingElse) {
  write_file_atomically(path("a"), "a long first version");
  write_file_atomically(path("a"), "second");
  EXPECT_EQ(read_text_file(path("a")), "second");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(File, LeavesAMappingOfTheOldContentAsItWas) {
  write_file_atomically(path("a"), "first");
  const MappedFile old_file(path("a"));
  write_file_atomically(path("a"), "SECOND");
  ASSERT_EQ(old_file.bytes().size(), 5U);
  EXPECT_EQ(old_file.bytes()[0], std::byte{'f'});
}

TEST_F(File, ShowsAReaderEitherTheOldOrTheNewContent) {
  const std::array<std::string, 2> versions = {std::string(100'000, 'a'), std::string(50'000, 'b')};
  write_file_atomically(path("a"), versions[0]);
  const std::jthread writer([&](const std::stop_token& stop) {
    for (std::size_t round = 1; !stop.stop_requested(); ++round) write_file_atomically(path("a"), versions[round % 2]);
  });
  for (int round = 0; round < 300; ++round) ASSERT_THAT(versions, testing::Contains(read_text_file(path("a"))));
}

TEST_F(File, RefusesATargetThatIsAFolderAndRemovesTheTemporaryFile) {
  std::filesystem::create_directory(path("a"));
  EXPECT_THAT([&] { write_file_atomically(path("a"), "content"); },
              ThrowsMessage<Error>(AllOf(StartsWith(fmt::format("[{}] ", path("a").string())), HasSubstr("Is a directory"))));
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(File, RefusesAFolderThatDoesNotExist) {
  EXPECT_THAT([&] { write_file_atomically(path("missing/a"), "content"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("missing/a] cannot create the file"), HasSubstr("No such file"))));
  EXPECT_THAT(names(), ElementsAre());
}

TEST_F(File, KeepsTheOldContentAndNoTemporaryFileWhenTheDiskIsFull) {
  write_file_atomically(path("a"), "old");
  {
    const FileSizeLimit limit(4096);
    EXPECT_THAT([&] { write_file_atomically(path("a"), std::string(5000, 'x')); },
                ThrowsMessage<Error>(StartsWith(fmt::format("[{}] cannot write the file: ", path("a").string()))));
  }
  EXPECT_EQ(read_text_file(path("a")), "old");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(File, WritesAFileInTheCurrentFolderByItsNameAlone) {
  const Path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  write_file_atomically("a", "content");
  std::filesystem::current_path(before);
  EXPECT_EQ(read_text_file(path("a")), "content");
}

TEST_F(File, ReadsAFileOfExactlyTheLimitAndRefusesOneByteMore) {
  write_file_atomically(path("a"), "12345");
  EXPECT_EQ(read_text_file(path("a"), 5), "12345");
  EXPECT_THAT([&] { read_text_file(path("a"), 4); }, ThrowsMessage<Error>(HasSubstr("has 5 bytes; at most 4 are expected")));
}

TEST_F(File, AnAtomicFileIsWrittenInAnyOrderAndAppearsWhenPublished) {
  AtomicFile file(path("a"));
  file.write_at(3, std::as_bytes(std::span("DEF", 3)));
  file.start_flush();
  file.write_at(0, std::as_bytes(std::span("abc", 3)));
  EXPECT_FALSE(std::filesystem::exists(path("a")));
  file.publish();
  EXPECT_EQ(read_text_file(path("a")), "abcDEF");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(File, AnAtomicFileThatIsNotPublishedLeavesNothing) {
  {
    AtomicFile file(path("a"));
    file.write_at(0, std::as_bytes(std::span("abc", 3)));
    EXPECT_EQ(names().size(), 1U);
  }
  EXPECT_THAT(names(), ElementsAre());
}

TEST_F(File, AnAtomicFileSaysWhenTheDiskIsFull) {
  AtomicFile file(path("a"));
  const std::string content(200, 'x');
  const FileSizeLimit limit(4096);
  EXPECT_THAT([&] { file.write_at(4000, std::as_bytes(std::span(content))); },
              ThrowsMessage<Error>(StartsWith(fmt::format("[{}] cannot write the file: ", path("a").string()))));
}

TEST_F(File, AnAppendedFileIsReadableAfterEachWrite) {
  AppendedFile file(path("a"));
  file.write("one\n");
  EXPECT_EQ(read_text_file(path("a")), "one\n");
  file.write("two\n");
  EXPECT_EQ(read_text_file(path("a")), "one\ntwo\n");
}

TEST_F(File, AnAppendedFileMustBeNew) {
  write_file_atomically(path("a"), "old");
  EXPECT_THAT([&] { AppendedFile file(path("a")); }, ThrowsMessage<Error>(AllOf(HasSubstr("/a]"), HasSubstr("cannot create"))));
  EXPECT_EQ(read_text_file(path("a")), "old");
}

TEST_F(File, AnAppendedFileSaysWhenTheDiskIsFull) {
  const FileSizeLimit limit(4096);
  AppendedFile file(path("a"));
  EXPECT_THAT([&] { file.write(std::string(5000, 'x')); }, ThrowsMessage<Error>(AllOf(HasSubstr("/a]"), HasSubstr("cannot write"))));
}

TEST_F(File, SaysInOneLineWhichFileCannotBeRead) {
  EXPECT_THAT([&] { read_text_file(path("a")); },
              ThrowsMessage<Error>(AllOf(StartsWith(fmt::format("[{}] ", path("a").string())), Not(HasSubstr("\n")))));
}

}  // namespace
}  // namespace meshseek
