#include "mesh/communicator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "mesh/handshake.hpp"
#include "mesh/threads/thread_mesh.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Mesh = std::vector<std::shared_ptr<Communicator>>;

/// Calls body(communicator) for all at once. \return what each threw, "" for nothing
template <class Body>
std::vector<std::string> messages_of(const Mesh& mesh, const Body& body) {
  std::vector<std::string> messages(mesh.size());
  std::vector<std::jthread> threads;
  for (std::size_t rank = 0; rank < mesh.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(*mesh[rank]);
      } catch (const std::exception& error) {
        messages[rank] = error.what();
      }
    });
  }
  threads.clear();
  return messages;
}

std::span<const std::byte> bytes_of(const std::vector<int>& values) { return std::as_bytes(std::span(values)); }
std::span<std::byte> bytes_of(std::vector<int>& values) { return std::as_writable_bytes(std::span(values)); }

TEST(Communicator, KnowsTheDevicesOfItsRowItsColumnAndAll) {
  const Mesh mesh = make_thread_mesh({2, 3});
  const Communicator& one = *mesh[4];
  EXPECT_EQ(one.row(), 1);
  EXPECT_EQ(one.col(), 1);
  EXPECT_THAT(one.group(0).ranks, ElementsAre(1, 4));
  EXPECT_THAT(one.group(1).ranks, ElementsAre(3, 4, 5));
  EXPECT_THAT(one.group({}).ranks, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(one.group(0).position, 1);
  EXPECT_EQ(one.group(1).position, 1);
  EXPECT_EQ(one.group({}).position, 4);
  EXPECT_EQ(Communicator().shape(), MeshShape{});
}

TEST(Communicator, MessagesOfOneSenderArriveInOrderWhateverIsWaitedForFirst) {
  const Mesh mesh = make_thread_mesh({1, 2});
  std::vector<int> first(3);
  std::vector<int> second(2);
  const auto messages = messages_of(mesh, [&](Communicator& one) {
    if (one.rank() == 0) {
      const std::vector<int> a = {1, 2, 3};
      const std::vector<int> b = {4, 5};
      const Ticket ticket = one.start_send(1, MessageTag::send, bytes_of(a));
      one.send(1, MessageTag::send, bytes_of(b));
      return one.wait(ticket);
    }
    const Ticket ticket = one.start_receive(0, MessageTag::send, bytes_of(first));
    const Ticket later = one.start_receive(0, MessageTag::send, bytes_of(second));
    one.wait(later);
    one.wait(ticket);
  });
  EXPECT_THAT(messages, ElementsAre("", ""));
  EXPECT_THAT(first, ElementsAre(1, 2, 3));
  EXPECT_THAT(second, ElementsAre(4, 5));
  EXPECT_THAT(mesh[0]->bytes_sent(), ElementsAre(0, 20));
  EXPECT_EQ(mesh[0]->num_messages(), 2);
  EXPECT_EQ(mesh[1]->total_bytes_sent(), 0);
}

TEST(Communicator, AFailureWakesWhoeverWaitsAndNamesDeviceOperatorAndLayer) {
  const Mesh mesh = make_thread_mesh({1, 3});
  const auto messages = messages_of(mesh, [](Communicator& one) {
    std::vector<int> values(1);
    if (one.rank() == 1) {
      one.progress().enter_layer(7);
      one.progress().enter_operator("linear");
      one.fail("the shapes do not fit");
    }
    if (one.rank() == 0) one.receive(1, MessageTag::send, bytes_of(values));
    if (one.rank() == 2) one.send(1, MessageTag::send, bytes_of(values));
  });
  const auto expected = AllOf(HasSubstr("rank 1 on host "), HasSubstr("failed in linear, layer 7: the shapes do not fit"));
  EXPECT_THAT(messages, ElementsAre(expected, "", expected));
}

TEST(Communicator, AMessageOfAnotherOperatorOrSizeIsRefused) {
  const auto messages_for = [](MessageTag tag, std::size_t size) {
    return messages_of(make_thread_mesh({1, 2}), [&](Communicator& one) {
      std::vector<int> values(one.rank() == 0 ? 3 : size);
      if (one.rank() == 0) return one.wait(one.start_send(1, MessageTag::barrier, bytes_of(values)));
      try {
        one.receive(0, tag, bytes_of(values));
      } catch (const std::exception& error) {
        one.fail(error.what());
        throw;
      }
    });
  };
  EXPECT_THAT(messages_for(MessageTag::send, 3)[1], HasSubstr("device 0 sent a message of barrier where device 1 is in send"));
  EXPECT_THAT(messages_for(MessageTag::send, 3)[0], HasSubstr("device 0 sent a message of barrier"));
  EXPECT_THAT(messages_for(MessageTag::barrier, 2)[1], HasSubstr("device 0 sent 12 bytes to device 1, which expected 8"));
}

TEST(Communicator, SharedMemoryIsReadWhereItLies) {
  const Mesh mesh = make_thread_mesh({2, 1});
  const std::vector<int> values = {1, 2};
  const std::byte* seen = nullptr;
  const auto messages = messages_of(mesh, [&](Communicator& one) {
    if (one.rank() == 0) return one.wait(one.share(1, MessageTag::send, bytes_of(values), 4));
    seen = one.look(0, MessageTag::send).data();
    one.release(0);
  });
  EXPECT_THAT(messages, ElementsAre("", ""));
  EXPECT_EQ(seen, bytes_of(values).data());
  EXPECT_EQ(mesh[0]->total_bytes_sent(), 4);
}

TEST(Communicator, ADelayOfTheEnvironmentComesBeforeEachMessage) {
  ::setenv("MESHSEEK_TEST_LINK_DELAY_US", "20000", 1);
  const Mesh mesh = make_thread_mesh({1, 2});
  ::setenv("MESHSEEK_TEST_LINK_DELAY_US", "soon", 1);
  EXPECT_THROW(make_thread_mesh({1, 2}), Error);
  ::unsetenv("MESHSEEK_TEST_LINK_DELAY_US");
  const auto begin = std::chrono::steady_clock::now();
  const auto messages = messages_of(mesh, [](Communicator& one) {
    std::vector<int> values(1);
    for (int round = 0; round < 3; ++round) {
      if (one.rank() == 0) one.send(1, MessageTag::send, bytes_of(values));
      if (one.rank() == 1) one.receive(0, MessageTag::send, bytes_of(values));
    }
  });
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(60));
}

TEST(Handshake, EqualFactsAreAgreedOnAndTheFirstThatDiffersIsNamed) {
  const auto agree_on = [](std::string_view odd) {
    return messages_of(make_thread_mesh({2, 2}), [&](Communicator& one) {
      std::vector<Fact> facts = facts_of_program(one.shape());
      facts.push_back({"store", one.rank() == 3 ? std::string(odd) : "a"});
      agree(one, facts);
    });
  };
  EXPECT_THAT(agree_on("a"), ElementsAre("", "", "", ""));
  const auto expected = AllOf(HasSubstr("rank 3 on host"), HasSubstr("has store=b, but rank 0"));
  EXPECT_THAT(agree_on("b"), ElementsAre(expected, expected, expected, expected));
}

TEST(Handshake, AllDevicesLearnTheSmallestValue) {
  std::array<std::int64_t, 4> least = {};
  const auto messages = messages_of(make_thread_mesh({2, 2}), [&](Communicator& one) {
    const std::array<std::int64_t, 4> values = {5, 3, 4, 9};
    const auto place = static_cast<std::size_t>(one.rank());
    least[place] = least_of(one, values[place]);
  });
  EXPECT_THAT(messages, ElementsAre("", "", "", ""));
  EXPECT_THAT(least, ElementsAre(3, 3, 3, 3));
}

TEST(Communicator, TimeInWhichItWaitsIsSummedUp) {
  const Mesh mesh = make_thread_mesh({1, 2});
  constexpr std::chrono::milliseconds kLate(30);
  messages_of(mesh, [&](Communicator& one) {
    std::vector<int> values(1);
    if (one.rank() == 0) std::this_thread::sleep_for(kLate);
    if (one.rank() == 0) one.send(1, MessageTag::send, bytes_of(values));
    if (one.rank() == 1) one.receive(0, MessageTag::send, bytes_of(values));
  });
  EXPECT_GE(mesh[1]->waited(), kLate / 2);
  EXPECT_LT(mesh[0]->waited(), mesh[1]->waited());
}

TEST(Progress, TellsOperatorsFromWhatLiesBetweenThem) {
  Progress progress;
  EXPECT_EQ(progress.activity(), Progress::Activity::preparation);
  progress.enter_operator("linear");
  EXPECT_TRUE(progress.is_operator());
  progress.enter_pause("the end");
  EXPECT_EQ(progress.activity(), Progress::Activity::pause);
  progress.enter_preparation("loading");
  EXPECT_EQ(progress.activity(), Progress::Activity::preparation);
  EXPECT_FALSE(progress.is_operator());
  EXPECT_EQ(to_string(progress), "loading");
}

TEST(Progress, EveryStepWaitAndPieceOfWorkIsAMove) {
  Progress progress;
  std::uint64_t moves = progress.num_moves();
  const auto has_moved = [&] { return std::exchange(moves, progress.num_moves()) != moves; };
  EXPECT_FALSE(has_moved());
  progress.enter_operator("linear");
  EXPECT_TRUE(has_moved());
  progress.wait_for(1);
  EXPECT_TRUE(has_moved());
  progress.wait_for(-1);
  EXPECT_TRUE(has_moved());
  std::jthread([&] { progress.note_work(); }).join();
  EXPECT_TRUE(has_moved());
  progress.enter_pause("the end");
  EXPECT_TRUE(has_moved());
}

TEST(Progress, NamesTheOperatorAndTheLayer) {
  Progress progress;
  EXPECT_EQ(to_string(progress), "start");
  progress.enter_operator("all_gather");
  progress.enter_layer(0);
  EXPECT_EQ(to_string(progress), "all_gather, layer 0");
}

}  // namespace
}  // namespace meshseek
