"""size_budget.py measures functions as a reader would and finds what is beyond the budget."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import size_budget

TOOL = Path(size_budget.__file__)


def names_and_lines(text):
    return [(name, lines) for name, _, lines in size_budget.functions(text)]


class FunctionLengths(unittest.TestCase):
    def test_a_function_is_measured_from_its_signature_to_its_closing_brace(self):
        text = "namespace a {\n\nint add(int x,\n        int y) {\n  if (x) {\n    return y;\n  }\n  return x + y;\n}\n\n}  // namespace a\n"
        self.assertEqual(size_budget.functions(text), [("add", 3, 7)])

    def test_members_operators_and_destructors_have_their_names(self):
        text = """
class Team : public Base {
 public:
  ~Team() { stop(); }
  bool operator==(const Team& other) const { return true; }
  int operator()(int x) const { return x; }
 private:
  int size_ = 0;
};
Team::Part Team::work(std::stop_token stop) const noexcept { return {}; }
"""
        self.assertEqual([name for name, _ in names_and_lines(text)], ["~Team", "operator==", "operator", "Team::work"])

    def test_member_initialisers_are_no_functions(self):
        text = "A::A(int x) : B(x), values_{1, 2}, size_{x} {\n  go();\n}\nA::A() noexcept\n    : size_(0) {}\n"
        self.assertEqual(names_and_lines(text), [("A::A", 3), ("A::A", 2)])

    def test_tables_enums_and_default_arguments_are_no_functions(self):
        text = """
enum class Kind : std::uint8_t { a, b };
constexpr std::array<Row, 2> kTable = {{{f(1), 2}, {3, 4}}};
const std::vector<int> kOther{1, 2};
struct Options { int count = 3; std::function<void(int)> done = {}; };
void run(Options options = {}, std::vector<int> list = {1, 2}) { go(); }
"""
        self.assertEqual(names_and_lines(text), [("run", 1)])

    def test_templates_trailing_returns_and_constraints_are_understood(self):
        text = """
template <typename T = std::vector<int>, std::size_t N = 4>
  requires std::integral<T>
auto first(const T& list) -> decltype(list[0]) {
  return list[0];
}
"""
        self.assertEqual([lines for _, lines in names_and_lines(text)], [4])

    def test_a_lambda_counts_to_its_function_and_a_global_lambda_is_one(self):
        text = "void f() {\n  auto g = [](int x) {\n    return x;\n  };\n}\nconst auto kRule = [](int x) -> int {\n  return x;\n};\n"
        self.assertEqual(names_and_lines(text), [("f", 5), ("kRule", 3)])

    def test_braces_in_literals_comments_and_directives_do_not_count(self):
        text = 'void f() {\n  a("}{{", \'{\', R"x(}}")x", 1\'000\'000);  // }\n  /* { */\n}\n#define OPEN { \\\n  {\nvoid g() {}\n'
        self.assertEqual(names_and_lines(text), [("f", 4), ("g", 1)])

    def test_a_test_is_a_function(self):
        self.assertEqual(names_and_lines("TEST(Shape, Counts) {\n  EXPECT_EQ(1, 1);\n}\n"), [("TEST", 3)])

    def test_brackets_that_do_not_match_are_an_error(self):
        for text in ("void f() {\n", "}\n", "namespace a {\n", "void f(\n"):
            with self.assertRaises(size_budget.UnbalancedBraces):
                size_budget.functions(text)


class Budget(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run_tool(self):
        return subprocess.run([sys.executable, "-B", TOOL, "--root", self.root], capture_output=True, text=True, check=False)

    def assert_problem(self, problem):
        run = self.run_tool()
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertIn(problem, run.stdout)

    def function(self, lines, name="f"):
        return f"void {name}() {{\n" + "  g();\n" * (lines - 2) + "}\n"

    def test_a_small_tree_is_within_budget(self):
        self.write("src/ops/a.cpp", self.function(40))
        self.write("reference/b.hpp", self.function(3))
        run = self.run_tool()
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn("functions: 2, p95 40 lines (budget 40)", run.stdout)
        self.assertIn("  40  src/ops/a.cpp:1  f", run.stdout)

    def test_one_long_function_in_twenty_is_within_budget_and_two_are_not(self):
        self.write("src/ops/a.cpp", self.function(41) + "".join(self.function(3, f"f{n}") for n in range(19)))
        self.assertEqual(self.run_tool().returncode, 0)
        self.write("src/ops/b.cpp", self.function(41))
        self.assert_problem("p95 of function lengths is 41 lines; the budget is 40")

    def test_long_files_are_beyond_budget(self):
        self.write("reference/a.cpp", "\n" * 401)
        self.assert_problem("p95 of file lengths is 401 lines; the budget is 400")

    def test_kernels_may_be_long_but_not_sprawling(self):
        self.write("src/ops/cpu/a.cpp", self.function(120) + "\n" * 600)
        run = self.run_tool()
        self.assertEqual(run.returncode, 0, run.stdout)
        self.write("src/ops/cpu/a.cpp", self.function(121))
        self.assert_problem("src/ops/cpu/a.cpp:1: function f has 121 lines; the limit is 120")
        self.write("src/ops/cpu/a.cpp", "\n" * 801)
        self.assert_problem("src/ops/cpu/a.cpp: file a.cpp has 801 lines; the limit is 800")

    def test_code_that_cannot_be_measured_is_an_error(self):
        self.write("src/ops/a.cpp", "void f() {\n")
        self.assert_problem("src/ops/a.cpp:1: the brackets do not match")

    def test_utils_folders_are_refused(self):
        self.write("src/utils/a.hpp", "")
        self.assert_problem("src/utils/a.hpp:1: lies in a utils folder")

    def test_conditional_compilation_stays_in_base_and_the_kernels(self):
        for directive in ("#if X", "#ifdef X", "#ifndef X", "#  if X", "#elif X"):
            self.write("src/ops/a.cpp", f"\n{directive}\n#endif\n")
            self.assert_problem(f"src/ops/a.cpp:2: `{directive.split(' X')[0]}` outside src/base and src/ops/cpu")
        self.write("src/ops/a.cpp", "#pragma once\n// #if X\n#include <vector>\n")
        self.write("src/base/a.cpp", "#if X\n#endif\n")
        self.write("src/ops/cpu/a.cpp", "#ifdef X\n#endif\n")
        self.assertEqual(self.run_tool().returncode, 0)

    def test_paths_of_one_machine_are_refused(self):
        for folder in ("/".join(["", "work", ""]), "/".join(["", "root", ""]), "/".join(["", "home", "ada", ""])):
            self.write("docs/a.md", f"see\n{folder}models\n")
            self.assert_problem(f"docs/a.md:2: names a path of one machine, {folder}")
        self.write("docs/a.md", "https://example.org/work/x and src/root/x and ~/.cache\n")
        self.assertEqual(self.run_tool().returncode, 0)

    def test_ignored_files_do_not_count(self):
        self.write(".gitignore", "/build/\n")
        self.write("build/utils/a.hpp", "")
        if shutil.which("git"):
            subprocess.run(["git", "init", "--quiet", self.root], check=True)
        run = self.run_tool()
        self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    unittest.main()
