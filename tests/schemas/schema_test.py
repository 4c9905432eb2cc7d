#!/usr/bin/env python3
"""The schemas in schemas/ accept what the program writes, and reject, as the program does, what is wrong.

    schema_test.py MESHSEEK SOURCE_FOLDER
"""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import jsonschema

MESHSEEK, SOURCE = Path(sys.argv[1]), Path(sys.argv[2])
CHECKPOINTS = SOURCE / "tests/data/checkpoints"
FAMILIES = ["v2lite-tiny", "v2-tiny", "v3-tiny", "moonlight-tiny", "kimi-tiny", "odd-tiny"]


def run(*arguments):
    return subprocess.run([str(MESHSEEK), *map(str, arguments)], capture_output=True, text=True, check=False)


def validator(kind):
    schema = json.loads((SOURCE / f"schemas/{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def at(document, path):
    for key in path:
        document = document[key]
    return document


def changed(document, path, key, value=None, remove=False):
    document = copy.deepcopy(document)
    if remove:
        del at(document, path)[key]
    else:
        at(document, path)[key] = value
    return document


class Schemas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.store = cls.folder / "store"
        assert run("convert", CHECKPOINTS / "v3-tiny", cls.store).returncode == 0

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def write(self, document):
        path = self.folder / "document.json"
        path.write_text(json.dumps(document))
        return path

    def config(self, family, mode):
        result = run("configure", CHECKPOINTS / family, "--mode", mode)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def assert_both_reject(self, kind, document, command):
        self.assertFalse(validator(kind).is_valid(document), f"the schema accepts {json.dumps(document)[:300]}")
        result = run(*command(self.write(document)))
        self.assertIn(result.returncode, (1, 2), f"the program accepts {json.dumps(document)[:300]}")
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)

    def test_model_configs_of_every_family_and_mode_are_valid(self):
        for family in FAMILIES:
            for mode in ("prefill", "decode"):
                validator("model_config").validate(self.config(family, mode))

    def test_the_weight_config_of_a_store_is_valid(self):
        validator("weight_config").validate(json.loads((self.store / "weight_config.json").read_text()))

    def test_wrong_model_configs_are_rejected_by_schema_and_program(self):
        good = self.config("v3-tiny", "prefill")
        layer = ["model", "layers", "0"]
        linear = layer + ["mla", "wo"]
        rule = linear + ["program_rule"]
        for path, key, value in [
            (linear, "transpose", True),
            (linear, "transpose_b", "yes"),
            (linear, "dtype", "bfloat12"),
            (linear, "op", "Mul"),
            (linear, "transpose_b", None),
            (linear, "memory_config", {"buffer_type": "L3"}),
            (linear, "memory_config", {"memory_layout": 2}),
            (linear, "program_config", {"type": "MatmulFast"}),
            (linear, "program_config", {"type": "MatmulMultiCoreReuseMultiCast1DProgramConfig", "per_core_K": 1}),
            (linear, "input_tensor_b", {"shape": "256"}),
            (linear, "compute_kernel_config", {"math_fidelity": "HiFi3"}),
            (rule, "in0_block_w", 1.5),
            (rule, "compute_with_storage_grid_size", {"x": 2**31}),
            (layer, "attention", {}),
            (["model", "layers"], "two", {}),
            (["model", "layers"], "3-", {}),
            (["model", "layers"], "03", {}),
            (["model"], "layers", []),
            ([], "format_version", 2),
            ([], "author", "me"),
            ([], "device", {}),
            ([], "device", {"num_cores": 0}),
            ([], "device", {"num_cores": 2, "num_coers": 8}),
            ([], "device", 5),
            ([], "mode", "training"),
            ([], "mesh", "1 by 1"),
        ]:
            with self.subTest(path=path, key=key, value=value):
                self.assert_both_reject("model_config", changed(good, path, key, value), lambda file: ("run", self.store, "--ids", "1", "--prefill-config", file))
        for path, key in [(linear, "op"), (["model"], "norm"), ([], "mode")]:
            with self.subTest(path=path, missing=key):
                self.assert_both_reject("model_config", changed(good, path, key, remove=True),
                                        lambda file: ("run", self.store, "--ids", "1", "--prefill-config", file))

    def test_overlays(self):
        def command(file):
            return ("configure", CHECKPOINTS / "v3-tiny", "--overlay", file)

        for good in [
            {"model": {"layers": {"0-2": {"mla": {"wo": {"dtype": "float32"}}}}}},
            {"model": {"layers": {"0": {"mla": {"wo": {"op": "Linear", "dtype": None}}}, "1-2": {"mla": {"wo": {"program_rule": {"in0_block_w": 2}}}}}}},
            {"model": {"lm_head": {"compute_kernel_config": {"math_fidelity": "HiFi4"}}}},
        ]:
            validator("overlay").validate(good)
            self.assertEqual(run(*command(self.write(good))).returncode, 0, good)
        for bad in [
            {"model": {"layers": {"0-2": {"mla": {"wo": {"dtpye": "float32"}}}}}},
            {"model": {"layers": {"0-2": {"mla": {"wo": {"dtype": 3}}}}}},
            {"model": {"layers": {"first": {"mla": {}}}}},
            {"model": {"head": {}}},
            {"modle": {}},
            {"model": {"lm_head": {"op": "Mul"}}},
            {"model": {"layers": {"0": {"mlp": None}}}},
        ]:
            with self.subTest(bad=bad):
                self.assert_both_reject("overlay", bad, command)

    def test_dtype_policies(self):
        def command(file):
            return ("convert", CHECKPOINTS / "v3-tiny", self.folder / "other", "--dtype-policy", file)

        good = {"format_version": 1, "model": {"layers": {"0": "bfloat16", "1-2": {"moe": {"experts": {"w1": "bfloat4_b", "w3": "bfloat4_b"}}}},
                                               "lm_head": "bfloat16"}}
        validator("dtype_policy").validate(good)
        self.assertEqual(run(*command(self.write(good))).returncode, 0)
        for bad in [
            {"format_version": 1, "model": {"layers": {"0": {"mpl": "bfloat16"}}}},
            {"format_version": 1, "model": {"lm_head": "int8"}},
            {"format_version": 1, "model": {"norm": "bfloat8_b"}},
            {"format_version": 1, "model": {"layers": {"1": {"moe": {"gate": {"linear": "bfloat8_b"}}}}}},
            {"format_version": 1, "model": {"mtp": {"0": {"eh_proj": "bfloat8_b"}}}},
            {"format_version": 1, "model": {"layers": {"1-": "bfloat16"}}},
            {"format_version": 2, "model": {}},
            {"format_version": 1},
            {"format_version": 1, "model": {}, "why": "because"},
        ]:
            with self.subTest(bad=bad):
                self.assert_both_reject("dtype_policy", bad, command)

    def test_wrong_weight_configs(self):
        text = (self.store / "weight_config.json").read_text()
        good = json.loads(text)
        path = self.store / "weight_config.json"

        def command(file):
            path.write_text(file.read_text())
            return ("run", self.store, "--ids", "1")

        self.addCleanup(path.write_text, text)
        entry = ["model", "lm_head", "input_tensor_b"]
        for where, key, value in [
            (entry, "dtpye", "bfloat8_b"),
            (entry, "shape", "large"),
            (entry, "dtype", "bfloat12"),
            (entry, "layout", "STRIPES"),
            (["model"], "head", {"input_tensor_b": "x.tensorbin"}),
            (["model", "layers"], "0to2", {}),
            ([], "format_version", 7),
            ([], "author", "me"),
        ]:
            with self.subTest(where=where, key=key):
                self.assert_both_reject("weight_config", changed(good, where, key, value), command)
        self.assert_both_reject("weight_config", changed(good, entry, "path", remove=True), command)

    def test_what_only_the_program_can_see(self):
        good = self.config("v3-tiny", "prefill")
        overlapping = copy.deepcopy(good)
        overlapping["model"]["layers"]["0-1"] = {"mla": copy.deepcopy(good["model"]["layers"]["0"]["mla"])}
        validator("model_config").validate(overlapping)
        result = run("run", self.store, "--ids", "1", "--prefill-config", self.write(overlapping))
        self.assertEqual(result.returncode, 1)
        self.assertIn("both define it for layer 0", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
