"""include_lint.py finds each forbidden include in small trees, and nothing in a tree that keeps the table."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import include_lint

TOOL = Path(include_lint.__file__)


class IncludeLint(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def lint(self, path, *lines):
        file = self.root / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
        return include_lint.lint(self.root)

    def assert_allowed(self, path, *targets):
        for target in targets:
            self.assertEqual(self.lint(path, f'#include "{target}"'), [], f"{path} -> {target}")
        (self.root / "src" / path).unlink()

    def assert_forbidden(self, path, *targets):
        for target in targets:
            problems = self.lint(path, "// first line", f'#include "{target}"')
            self.assertEqual(len(problems), 1, f"{path} -> {target}")
            self.assertTrue(problems[0].startswith(f"src/{path}:2: includes {target}; "), problems[0])
        (self.root / "src" / path).unlink()

    def test_every_room_may_include_itself_and_base(self):
        for room in "base tensor config mesh hf ops stage1_convert stage2_configure stage3_run generate serve cli".split():
            self.assert_allowed(f"{room}/a.cpp", f"{room}/b.hpp", "base/error.hpp")

    def test_the_lower_rooms_look_only_down(self):
        self.assert_forbidden("base/a.cpp", "tensor/dtype.hpp", "config/tree.hpp")
        self.assert_forbidden("tensor/a.hpp", "config/tree.hpp", "mesh/mesh_shape.hpp", "hf/hf_config.hpp", "ops/linear.hpp")
        self.assert_forbidden("config/a.hpp", "tensor/dtype.hpp", "mesh/mesh_shape.hpp")
        self.assert_allowed("mesh/a.hpp", "tensor/dtype.hpp")
        self.assert_forbidden("mesh/a.hpp", "config/tree.hpp", "hf/hf_config.hpp", "ops/linear.hpp")
        self.assert_allowed("hf/a.hpp", "tensor/dtype.hpp", "config/tree.hpp")
        self.assert_forbidden("hf/a.hpp", "mesh/mesh_shape.hpp", "ops/linear.hpp", "modules/mlp/mlp.hpp")
        self.assert_allowed("ops/cpu/a.cpp", "tensor/dtype.hpp", "mesh/mesh_shape.hpp", "config/tree.hpp", "ops/linear.hpp")
        self.assert_forbidden("ops/cpu/a.cpp", "hf/hf_config.hpp", "modules/mlp/mlp.hpp", "stage3_run/run_config.hpp")

    def test_a_module_header_sees_configs_of_the_checkpoint_but_not_its_tensors(self):
        self.assert_allowed("modules/moe/moe.hpp", "modules/mlp/mlp.hpp", "ops/linear.hpp", "mesh/mesh_shape.hpp", "hf/hf_config.hpp")
        self.assert_forbidden("modules/moe/moe.hpp", "hf/state_dict.hpp", "stage3_run/run_config.hpp", "generate/generator.hpp")

    def test_the_convert_door_sees_no_operators_and_no_stage(self):
        self.assert_allowed("modules/moe/moe_convert.cpp", "modules/mlp/mlp.hpp", "hf/state_dict.hpp", "tensor/tensor_file.hpp")
        self.assert_forbidden("modules/moe/moe_convert.cpp", "ops/linear.hpp", "stage1_convert/convert.hpp", "cli/options.hpp")

    def test_the_config_door_sees_only_configs(self):
        self.assert_allowed("modules/moe/moe_config.cpp", "modules/moe/moe.hpp", "ops/linear_config.hpp", "mesh/mesh_shape.hpp",
                            "mesh/mesh_device.hpp", "hf/hf_config.hpp", "tensor/dtype.hpp", "config/tree.hpp")
        self.assert_forbidden("modules/moe/moe_config.cpp", "ops/linear.hpp", "mesh/collectives.hpp", "hf/state_dict.hpp",
                              "tensor/tensor_file.hpp", "stage2_configure/configure.hpp")

    def test_the_forward_door_sees_operators_but_no_checkpoint(self):
        self.assert_allowed("modules/moe/moe_forward.cpp", "modules/moe/moe.hpp", "ops/linear.hpp", "mesh/mesh_device.hpp",
                            "hf/hf_config.hpp", "tensor/tensor.hpp")
        self.assert_forbidden("modules/moe/moe_forward.cpp", "hf/state_dict.hpp", "hf/safetensors.hpp", "stage3_run/run_config.hpp")

    def test_no_stage_includes_another(self):
        stages = ["stage1_convert", "stage2_configure", "stage3_run"]
        for stage in stages:
            self.assert_allowed(f"{stage}/a.cpp", "modules/mlp/mlp.hpp", "config/tree.hpp", "hf/hf_config.hpp", "mesh/mesh_shape.hpp")
            self.assert_forbidden(f"{stage}/a.cpp", *[f"{other}/b.hpp" for other in stages if other != stage], "generate/generator.hpp")

    def test_only_the_run_stage_sees_operators(self):
        self.assert_forbidden("stage1_convert/a.cpp", "ops/linear.hpp", "ops/linear_config.hpp")
        self.assert_allowed("stage2_configure/a.cpp", "ops/linear_config.hpp")
        self.assert_forbidden("stage2_configure/a.cpp", "ops/linear.hpp")
        self.assert_allowed("stage3_run/a.cpp", "ops/linear.hpp")

    def test_generate_and_serve_stand_on_the_rooms_below(self):
        self.assert_allowed("generate/a.cpp", "stage3_run/run_config.hpp", "modules/model/model.hpp", "ops/linear.hpp")
        self.assert_forbidden("generate/a.cpp", "stage1_convert/convert.hpp", "serve/server.hpp", "cli/options.hpp")
        self.assert_allowed("serve/a.cpp", "generate/generator.hpp", "hf/chat_template.hpp", "config/tree.hpp")
        self.assert_forbidden("serve/a.cpp", "stage3_run/run_config.hpp", "tensor/tensor.hpp", "ops/linear.hpp")

    def test_nothing_includes_the_command_line_or_the_reference(self):
        for room in "base tensor config mesh hf ops stage1_convert stage2_configure stage3_run generate serve".split():
            self.assert_forbidden(f"{room}/a.cpp", "cli/options.hpp", "reference/mlp.hpp", "tests/support.hpp")
        self.assert_forbidden("modules/mlp/mlp_forward.cpp", "cli/options.hpp", "reference/mlp.hpp")
        self.assert_allowed("cli/a.cpp", "stage1_convert/convert.hpp", "generate/generator.hpp")
        self.assert_forbidden("cli/a.cpp", "reference/mlp.hpp", "bench/rates.hpp")

    def test_tests_beside_the_code_may_include_everything(self):
        self.assert_allowed("tensor/dtype_test.cpp", "reference/mlp.hpp", "tests/support.hpp", "cli/options.hpp", "ops/linear.hpp")
        self.assert_allowed("modules/mlp/mlp_test.cpp", "stage3_run/run_config.hpp", "reference/mlp.hpp")

    def test_a_header_of_a_forbidden_room_in_angle_brackets_is_found(self):
        (self.root / "src/ops").mkdir(parents=True)
        (self.root / "src/ops/linear.hpp").touch()
        problems = self.lint("tensor/a.cpp", "#include <vector>", "#  include <ops/linear.hpp>")
        self.assertEqual(len(problems), 1)
        self.assertIn("src/tensor/a.cpp:2: includes ops/linear.hpp", problems[0])

    def test_paths_start_at_src_and_name_headers(self):
        self.assert_forbidden("ops/a.cpp", "linear.hpp", "../tensor/dtype.hpp", "./linear.hpp", "ops/linear.cpp")

    def test_an_include_in_a_comment_does_not_count(self):
        self.assertEqual(self.lint("base/a.cpp", '// #include "ops/linear.hpp"', "/*", '#include "ops/linear.hpp"', "*/"), [])

    def test_json_stays_behind_one_door(self):
        self.assertEqual(self.lint("config/json.cpp", "#include <nlohmann/json.hpp>"), [])
        problems = self.lint("hf/a.cpp", "#include <nlohmann/json.hpp>")
        self.assertEqual(problems, ["src/hf/a.cpp:1: includes nlohmann/json.hpp; only config/json.cpp may"])

    def test_the_generated_header_stays_in_its_room(self):
        self.assert_allowed("tensor/tensor_file.cpp", "tensor_file_generated.h")
        self.assert_forbidden("hf/a.cpp", "tensor_file_generated.h")

    def test_a_file_without_a_rule_is_an_error(self):
        self.assertIn("src/modules/mlp/mlp.cpp:1: no rule", self.lint("modules/mlp/mlp.cpp")[0])
        (self.root / "src/modules/mlp/mlp.cpp").unlink()
        self.assertIn("src/helpers/a.hpp:1: no rule", self.lint("helpers/a.hpp")[0])

    def test_the_program_exits_with_1_and_lists_every_violation(self):
        self.lint("base/a.cpp", '#include "ops/linear.hpp"', '#include "tensor/dtype.hpp"')
        run = subprocess.run([sys.executable, "-B", TOOL, "--root", self.root], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stdout.splitlines(), [
            "src/base/a.cpp:1: includes ops/linear.hpp; allowed here: base/*",
            "src/base/a.cpp:2: includes tensor/dtype.hpp; allowed here: base/*",
            "2 forbidden includes",
        ])
        self.lint("base/a.cpp", '#include "base/error.hpp"')
        run = subprocess.run([sys.executable, "-B", TOOL, "--root", self.root], capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
