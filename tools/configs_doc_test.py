"""configs_doc.py finds rows without a test and tests that do not exist, and nothing in a page that is true."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import configs_doc

TOOL = Path(configs_doc.__file__)
HEAD = "# Page\n\n| rule | example | test |\n|---|---|---|\n"


class ConfigsDoc(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("src/config/a_test.cpp", "TEST(Ranges, One) {}\n// TEST(Ranges, Gone) {}\n")
        self.write("tests/cli/b_test.cpp", "TEST_F(Usage, Two) {}\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self, text):
        self.write("docs/configs.md", text)
        return configs_doc.check(self.root)

    def test_rows_whose_tests_exist_are_fine(self):
        self.assertEqual(self.check(HEAD + "| a | `x` | `Ranges.One`, `Usage.Two` |\n"), [])

    def test_a_row_without_a_test_is_found(self):
        self.assertEqual(self.check(HEAD + "| a | `Ranges.One` | |\n"), ["docs/configs.md:5: names no test that proves it: a"])
        self.assertEqual(self.check(HEAD + "| a | x | none yet |\n"), ["docs/configs.md:5: names no test that proves it: a"])

    def test_a_test_that_does_not_exist_is_found(self):
        self.assertEqual(self.check(HEAD + "| a | x | `Ranges.One`, `Ranges.Three` |\n"), ["docs/configs.md:5: there is no test Ranges.Three"])
        self.assertEqual(self.check(HEAD + "| a | x | `Ranges.Gone` |\n"), ["docs/configs.md:5: there is no test Ranges.Gone"])

    def test_every_table_is_read_and_other_tables_are_not(self):
        other = "\n| name | meaning |\n|---|---|\n| a | b |\n\n"
        text = HEAD + "| a | x | `Ranges.One` |\n" + other + "| rule | test |\n|---|---|\n| b | |\n"
        self.assertEqual(self.check(text), ["docs/configs.md:13: names no test that proves it: b"])

    def test_a_page_without_a_table_is_found(self):
        self.assertEqual(self.check("# Page\n"), ["docs/configs.md:1: has no table with a column `test`"])

    def test_the_program_fails_when_there_is_a_problem(self):
        self.check(HEAD + "| a | x | |\n")
        run = subprocess.run([sys.executable, "-B", TOOL, "--root", self.root], capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (1, "docs/configs.md:5: names no test that proves it: a\n"))
        self.check(HEAD + "| a | x | `Ranges.One` |\n")
        run = subprocess.run([sys.executable, "-B", TOOL, "--root", self.root], capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
