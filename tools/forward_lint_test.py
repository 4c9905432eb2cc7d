import tempfile
import unittest
from pathlib import Path

import forward_lint


class ForwardLint(unittest.TestCase):
    def problems(self, path, text):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / path
            file.parent.mkdir(parents=True)
            file.write_text(text)
            return forward_lint.lint(Path(folder))

    def test_finds_a_forward_that_reads_the_mode(self):
        for text in ("if (cfg.mode == x) {}\n", "f(cfg->mode);\n", "return m == Mode::decode;\n"):
            self.assertEqual(len(self.problems("src/modules/mla/mla_forward.cpp", text)), 1, text)

    def test_names_file_and_line(self):
        self.assertIn("src/modules/mla/mla_forward.cpp:2:", self.problems("src/modules/mla/mla_forward.cpp", "\ncfg.mode;\n")[0])

    def test_leaves_comments_other_words_and_other_files_alone(self):
        self.assertEqual(self.problems("src/modules/mla/mla_forward.cpp", "// cfg.mode\nx.model; Model::f(); mode_of(x);\n"), [])
        self.assertEqual(self.problems("src/modules/model/model_config.cpp", "config.mode = Mode::decode;\n"), [])


if __name__ == "__main__":
    unittest.main()
