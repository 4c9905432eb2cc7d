// The command line itself: usage errors, help, and the table of docs/cli.md.
#include <gmock/gmock.h>

#include <regex>
#include <set>
#include <sstream>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using Flags = std::set<std::string>;

const std::vector<std::string> kVerbs = {"convert",  "configure", "run",     "logits", "score", "tokenize",
                                         "template", "inspect",   "explain", "replay", "tune",  "generate-checkpoint",
                                         "verify",   "bench",     "plan"};

class Usage : public ProgramTest {};

TEST_F(Usage, MistakesInTheCommandLineExitWith2) {
  const std::string model = checkpoint("v3-tiny").string();
  expect_usage_error(run({}), "a verb is missing");
  expect_usage_error(run({"rum"}), "there is no verb \"rum\"");
  expect_usage_error(run({"--loud"}), "--loud");
  expect_usage_error(run({"run", model, "--loud"}), "--loud");
  expect_usage_error(run({"run", model, "--ids", "1", "--temperature", "warm"}), "--temperature");
  expect_usage_error(run({"run", model, "--ids", "1", "--temperature", "-1"}), "temperature is -1");
  expect_usage_error(run({"run", model, "--ids", "1", "--top-p", "1.5"}), "top_p is 1.5");
  expect_usage_error(run({"run", model, "--ids", "1", "-n", "-3"}), "-n");
  expect_usage_error(run({"run", model, "--ids", "one"}), "\"one\" is no token id");
  expect_usage_error(run({"run", model, "--ids", "1", "-p", "x"}), "excludes");
  expect_usage_error(run({"run", model, "--ids", "1", "--dtype", "int3"}), "--dtype");
  expect_usage_error(run({"run", model, "--ids", "1", "--mesh", "2"}), "--mesh");
  expect_usage_error(run({"run", model, "--ids", "1", "--stop", ""}), "--stop");
  expect_usage_error(run({"run", model, "--ids", "1", "--threads", "0"}), "--threads");
  expect_usage_error(run({"convert", model}), "STORE");
  expect_usage_error(run({"configure", model, "--mode", "both"}), "--mode");
  expect_usage_error(run({"logits", model, "-o", "x"}), "--ids");
  expect_usage_error(run({"logits", model, "--ids", "1", "--via", "chunks:0", "-o", "x"}), "--via");
  expect_usage_error(run({"logits", model, "--ids", "1"}), "-o");
  expect_usage_error(run({"score", model}), "--text");
  expect_usage_error(run({"tokenize"}), "MODEL is required");
  expect_usage_error(run({"explain", model}), "PATH is required");
  expect_usage_error(run({"explain", model, "model", "--mode", "prefill", "--decode-config", "x.json"}), "--decode-config");
  expect_usage_error(run({"explain", model, "model", "--prefill-config", "x.json", "--decode-config", "x.json"}), "--prefill-config");
  expect_usage_error(run({"inspect"}), "expected either FILE or --compare");
  expect_usage_error(run({"inspect", "x", "--compare", "a", "b"}), "expected either FILE or --compare");
  expect_usage_error(run({"inspect", "--compare", "a"}), "--compare");
  expect_usage_error(run({"inspect", "x", "--devices"}), "expected either FILE or --compare");
  expect_usage_error(run({"inspect", "x", "--bind", "cores"}), "belong to --devices");
  expect_usage_error(run({"inspect", "--devices", "--bind", "tight"}), "--bind");
  expect_usage_error(run({"replay"}), "CAPTURE is required");
  expect_usage_error(run({"replay", "x.jsonl", "--index", "-1"}), "--index");
  expect_usage_error(run({"replay", "x.jsonl", "--set", "dtype=float32"}), "--index");
  expect_usage_error(run({"generate-checkpoint", "v3"}), "OUT is required");
  expect_usage_error(run({"inspect", write("x.json", "{}").string(), "--run-config"}), "--run-config");
}

TEST_F(Usage, AnUnknownLogIsRefused) {
  set("MESHSEEK_LOG", "everything");
  expect_usage_error(run({"run", checkpoint("v3-tiny").string(), "--ids", "1"}), "MESHSEEK_LOG");
}

TEST_F(Usage, EveryVerbShowsHelpWithAnExample) {
  for (const std::string& verb : kVerbs) {
    const Result result = run({verb, "--help"});
    EXPECT_EQ(result.exit_code, 0) << verb;
    EXPECT_EQ(result.err, "") << verb;
    EXPECT_THAT(result.out, ::testing::ContainsRegex("Example:\n  .*meshseek " + verb + " ")) << verb;
  }
  EXPECT_EQ(run({"--help"}).exit_code, 0);
}

/// The flags that --help lists, but for --help itself.
Flags flags_of_help(const std::string& help) {
  Flags flags;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  -")) continue;
    std::istringstream names(line.substr(2, line.find(' ', 2) - 2));
    for (std::string name; std::getline(names, name, ',');) {
      if (name != "-h" && name != "--help") flags.insert(name);
    }
  }
  return flags;
}

/// Verb -> flags of the table in docs/cli.md.
std::map<std::string, Flags> documented_flags() {
  std::map<std::string, Flags> verbs;
  std::istringstream lines(read_file(source_folder() / "docs" / "cli.md"));
  const std::regex row("\\| `([a-z-]+)[^|]*\\|([^|]*)\\|[^|]*\\|");
  const std::regex flag("`(-[^ `]*)");
  bool in_table = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("| verb |")) in_table = true;
    if (!line.starts_with("|")) in_table = false;
    std::smatch match;
    if (!in_table || !std::regex_match(line, match, row)) continue;
    const std::string arguments = match[2];
    Flags& flags = verbs[match[1]];
    for (std::sregex_iterator found(arguments.begin(), arguments.end(), flag), end; found != end; ++found) flags.insert((*found)[1]);
  }
  return verbs;
}

TEST_F(Usage, TheTableOfDocsEqualsTheHelp) {
  const std::map<std::string, Flags> documented = documented_flags();
  EXPECT_EQ(documented.size(), kVerbs.size());
  for (const std::string& verb : kVerbs) {
    ASSERT_TRUE(documented.contains(verb)) << verb;
    EXPECT_THAT(documented.at(verb), ::testing::ContainerEq(flags_of_help(run({verb, "--help"}).out))) << verb;
    EXPECT_FALSE(documented.at(verb).empty()) << verb;
  }
}

TEST_F(Usage, HelpListsNoVerbThatTheTestsDoNotKnow) {
  const std::string help = run({"--help"}).out;
  const std::size_t begin = help.find("Subcommands:");
  ASSERT_NE(begin, std::string::npos) << help;
  Flags verbs;
  std::istringstream lines(help.substr(begin));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line.starts_with("  ")) verbs.insert(line.substr(2, line.find(' ', 2) - 2));
  EXPECT_EQ(verbs, Flags(kVerbs.begin(), kVerbs.end()));
}

}  // namespace
}  // namespace meshseek::cli_test
