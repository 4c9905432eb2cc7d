// --capture, `meshseek replay` and `meshseek inspect --compare`, each in a process of its own.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "base/checksum.hpp"
#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kIds = "83,27,35,244,85";

class CaptureCli : public ProgramTest {
 protected:
  /// Runs v3-tiny with a capture: by `logits`, or by `run` when `verb` says so.
  fs::path capture(const std::string& name, const Arguments& flags = {}, const std::string& verb = "logits") {
    const fs::path file = folder() / name;
    Arguments arguments = {verb, checkpoint("v3-tiny").string(), "--ids", kIds, "--capture", file.string()};
    if (verb == "logits") arguments.insert(arguments.end(), {"-o", (folder() / "out.safetensors").string()});
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return file;
  }

  std::vector<Tree> lines_of(const fs::path& file) {
    std::vector<Tree> lines;
    std::istringstream text(read_file(file));
    for (std::string line; std::getline(text, line);) lines.push_back(parse_json(line, "line"));
    return lines;
  }
  /// Number of the first call at `path` of operator config `op`.
  std::string index_of(const fs::path& file, const std::string& path) {
    for (const Tree& line : lines_of(file)) {
      const Tree* found = line.find("path");
      if (found != nullptr && *found == Tree(path)) return std::to_string(line.find("index")->as_integer("index"));
    }
    throw std::runtime_error("no call of " + path);
  }
};

TEST_F(CaptureCli, EveryCallOfPrefillAndDecodeReplaysWithEqualBits) {
  const fs::path file = capture("ops.jsonl", {"-n", "3", "--ignore-eos"}, "run");
  std::set<std::string> modes;
  std::set<std::string> ops;
  const std::vector<Tree> lines = lines_of(file);
  for (std::size_t idx = 1; idx < lines.size(); ++idx) {
    modes.insert(lines[idx].find("mode")->as_string("mode"));
    ops.insert(lines[idx].find("op")->as_string("op"));
  }
  EXPECT_EQ(modes, (std::set<std::string>{"decode", "prefill"}));
  for (const char* op : {"linear", "grouped_linear", "mul", "binary", "rms_norm", "embedding", "rotary_embedding", "router", "moe_dispatch",
                         "moe_combine", "flash_mla_prefill", "flash_mla_decode", "update_cache", "cached_latents", "slice_columns"}) {
    EXPECT_TRUE(ops.contains(op)) << op;
  }
  const Result all = run({"replay", file.string()});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr(fmt::format("{} calls, all with equal bits", lines.size() - 1)));
}

TEST_F(CaptureCli, MtpIsRecordedToo) {
  const fs::path file = capture("ops.jsonl", {"--mtp"});
  EXPECT_THAT(read_file(file), HasSubstr("\"model.mtp.0.concat\""));
  EXPECT_EQ(run({"replay", file.string()}).exit_code, 0);
}

TEST_F(CaptureCli, OneCallReplaysAlone) {
  const fs::path file = capture("ops.jsonl");
  const Result result = run({"replay", file.string(), "--index", index_of(file, "model.layers.1.moe.experts.w2")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("grouped_linear model.layers.1.moe.experts.w2 (prefill)\n"));
  EXPECT_THAT(result.out, HasSubstr("equal bits"));
  EXPECT_THAT(result.out, HasSubstr(" ms (median of 5)"));
}

TEST_F(CaptureCli, AChangedFieldPrintsTheDifference) {
  const fs::path file = capture("ops.jsonl");
  const std::string index = index_of(file, "model.layers.0.mlp.w1");
  const Result result = run({"replay", file.string(), "--index", index, "--set", "compute_kernel_config.math_fidelity=HiFi4"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("y float32 [5, "));
  EXPECT_THAT(result.out, HasSubstr("max abs difference"));
  expect_failure(run({"replay", file.string(), "--index", index, "--set", "compute_kernel_config.math_fidelty=HiFi4"}), "math_fidelity");
}

/// Without panels, whose LoFi is quantised otherwise, and which the scalar kernels lack.
TEST_F(CaptureCli, OtherKernelsAreEqualWithinATolerance) {
  set("MESHSEEK_FORCE_ISA", "scalar");
  const fs::path file =
      capture("ops.jsonl", {"--deterministic", "--set", "model.layers.*.mlp.w1.compute_kernel_config.math_fidelity=HiFi4"});
  set("MESHSEEK_FORCE_ISA", "avx2");
  const Result result = run({"replay", file.string()});
  if (result.err.find("not supported by this machine") != std::string::npos) return expect_failure(result, "avx2");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("equal within the tolerance for other kernels"));
}

TEST_F(CaptureCli, TwoEqualRunsCompareEqual) {
  const fs::path a = capture("a.jsonl");
  const fs::path b = capture("b.jsonl", {"--threads", "1"});
  const Result result = run({"inspect", "--compare", a.string(), b.string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("calls, all values equal"));
}

TEST_F(CaptureCli, TheFirstOperatorWithAnotherConfigIsNamed) {
  const fs::path a = capture("a.jsonl");
  const fs::path b = capture("b.jsonl", {"--set", "model.layers.1.mla.wo.compute_kernel_config.math_fidelity=HiFi4"});
  const Result result = run({"inspect", "--compare", a.string(), b.string()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("linear model.layers.1.mla.wo (prefill): inputs are equal, configs differ; output y"));
  EXPECT_THAT(result.out, HasSubstr("model.layers.1.mla.wo (prefill).compute_kernel_config.math_fidelity: \"HiFi2\" against \"HiFi4\"\n"));
}

TEST_F(CaptureCli, AFlippedByteInTheDataIsDetected) {
  const fs::path file = capture("ops.jsonl");
  const fs::path value = fs::path(file.string() + ".data") /
                         (lines_of(file)[5].find("outputs")->as_array("outputs")[0].find("checksum")->as_string("") + ".bin");
  std::string bytes = read_file(value);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(value, std::ios::binary) << bytes;
  expect_failure(run({"replay", file.string()}), "is damaged");
  expect_failure(run({"replay", file.string(), "--index", "4"}), "is damaged");
  fs::resize_file(value, bytes.size() - 1);
  expect_failure(run({"replay", file.string(), "--index", "4"}), fmt::format("has {} bytes", bytes.size() - 1));
  fs::remove(value);
  expect_failure(run({"replay", file.string(), "--index", "4"}), value.filename().string());
}

TEST_F(CaptureCli, ALastLineWithoutItsEndIsLeftOut) {
  const fs::path file = capture("ops.jsonl");
  const std::size_t num_calls = lines_of(file).size() - 1;
  fs::resize_file(file, fs::file_size(file) - 20);
  const Result result = run({"replay", file.string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(fmt::format("{} calls, all with equal bits", num_calls - 1)));
}

TEST_F(CaptureCli, AnOldCaptureIsNotOverwritten) {
  const fs::path file = capture("ops.jsonl");
  const std::string before = read_file(file);
  const Arguments again = {"run", checkpoint("v3-tiny").string(), "--ids", kIds, "-n", "1", "--capture", file.string()};
  expect_failure(run(again), "ops.jsonl");
  EXPECT_EQ(read_file(file), before);
  expect_failure(run({"run", checkpoint("v3-tiny").string(), "--ids", kIds, "--capture", (folder() / "none" / "ops.jsonl").string()}),
                 "none/ops.jsonl");
}

TEST_F(CaptureCli, MalformedCapturesAreOneLineErrors) {
  const std::string header = R"({"format_version":1,"store":"/nowhere","mesh":"1x1","modes":[],"isa":"scalar","num_cores":1,"l2_bytes":0})";
  const std::string value = R"({"name":"a","shape":[1,2],"dtype":"float32","checksum":"0123456789abcdef"})";
  const auto call = [](const std::string& fields) { return "{\"index\":0,\"op\":\"binary\"" + fields + "}\n"; };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "has no header"},
      {"garbage\n", "line 1"},
      {"{}\n", "no header of a capture"},
      {R"({"format_version":9,"store":"x"})"
       "\n",
       "format_version 9"},
      {header + "\n[1]\n", "line 2"},
      {header + "\n" + call(",\"colour\":1"), "colour"},
      {header + "\n{\"index\":1,\"op\":\"binary\"}\n", "has index 1; expected 0"},
      {header + "\n" + call(""), "call 0 binary"},
      {header + "\n{\"index\":0,\"op\":\"bimary\"}\n", "did you mean \"binary\""},
      {header + "\n" + call(R"(,"inputs":[{"name":"a","shape":[1,0],"dtype":"float32","checksum":"0123456789abcdef"}])"), "[1, 0]"},
      {header + "\n" + call(R"(,"inputs":[{"name":"a","shape":[4611686018427387904,4],"dtype":"float32","checksum":"0123456789abcdef"}])"),
       "63 bits"},
      {header + "\n" + call(R"(,"inputs":[{"name":"a","shape":[1,2],"dtype":"bfloat8_b","checksum":"0123456789abcdef"}])"), "row-major"},
      {header + "\n" + call(R"(,"inputs":[{"name":"a","shape":[1,2],"dtype":"float32","checksum":"../../../etc/pass"}])"),
       "16 hexadecimal digits"},
      {header + "\n" + call(R"(,"config":{"op":"Binary"},"inputs":[)" + value + "]"), "0123456789abcdef.bin"},
      {header + "\n" + call(R"(,"config":{"op":"Mul"})"), "Mul"},
      {header + "\n" + call(R"(,"config":{"op":"Binary"})"), "has no input"},
      {header + "\n" + R"({"index":0,"op":"moe_dispatch","config":{"op":"MoeDispatch"},"arguments":{"num_experts":1000000000000}})" + "\n",
       "num_experts"},
      {header + "\n" + R"({"index":0,"op":"linear","config":{"op":"Linear","input_tensor_b":{"shape":[1,1]}},)" +
           R"("weights":[{"name":"input_tensor_b","path":"../w.tensorbin","shape":[1,1],"dtype":"float32"}]})" + "\n",
       "leaves the store"},
  };
  for (const auto& [text, part] : cases) {
    SCOPED_TRACE(text);
    const fs::path file = write("bad.jsonl", text);
    expect_failure(run({"replay", file.string()}), part);
  }
  expect_failure(run({"replay", (folder() / "none.jsonl").string()}), "none.jsonl");
  expect_failure(run({"inspect", "--compare", (folder() / "none.jsonl").string(), (folder() / "bad.jsonl").string()}), "none.jsonl");
  const fs::path good = write("empty.jsonl", header + "\n");
  expect_failure(run({"replay", good.string(), "--index", "0"}), "has no call 0");
}

TEST_F(CaptureCli, OperatorInputsFromAFileAreChecked) {
  const fs::path file = capture("ops.jsonl");
  const std::string text = read_file(file);
  const std::size_t combine = text.find("\"op\":\"moe_combine\"");
  ASSERT_NE(combine, std::string::npos);
  // The slots are replaced by values of the same shape that are no slots.
  const std::vector<std::int32_t> slots(5 * 4, 1 << 30);
  std::string damaged = text;
  const std::size_t at = text.find("\"checksum\":\"", text.find("\"slots\"", combine)) + 12;
  const std::string_view bytes(reinterpret_cast<const char*>(slots.data()), slots.size() * sizeof(std::int32_t));
  const std::string checksum = fmt::format("{:016x}", checksum64(std::as_bytes(std::span(bytes))));
  damaged.replace(at, 16, checksum);
  std::ofstream(file.string() + ".data/" + checksum + ".bin", std::ios::binary) << bytes;
  std::ofstream(file, std::ios::binary) << damaged;
  const std::size_t line =
      static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(combine), '\n')) - 1;
  expect_failure(run({"replay", file.string(), "--index", std::to_string(line)}), "slot 1073741824 does not exist");
}

TEST_F(CaptureCli, AStoreThatMovedIsFoundByItsFlag) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const fs::path file = folder() / "ops.jsonl";
  ASSERT_EQ(run({"run", store.string(), "--ids", kIds, "-n", "1", "--capture", file.string()}).exit_code, 0);
  fs::rename(store, folder() / "moved");
  expect_failure(run({"replay", file.string()}), "cannot load the weight");
  EXPECT_EQ(run({"replay", file.string(), "--store", (folder() / "moved").string()}).exit_code, 0);
}

}  // namespace
}  // namespace meshseek::cli_test
