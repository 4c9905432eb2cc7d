#!/usr/bin/env python3
"""Checks which room may include which: the table of docs/architecture.md, section "Layout of the tree".

Paths are relative to src/; `*` also matches `/`. The first rule that fits a file decides; a file that fits none is an
error. Every file may include base/ and its own room, except in modules/, where the rules say all.
"""

import argparse
import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from cpp_source import CPP_SUFFIXES, line_of, project_files, without_comments

OP_CONFIGS = ["ops/*_config.hpp", "ops/configs.hpp", "ops/config/*.hpp"]
MODULES = ["modules/*.hpp"]

RULES = [
    ("*_test.cpp", ["*"]),
    ("base/*", []),
    ("tensor/*", []),
    ("config/*", []),
    ("mesh/*", ["tensor/*"]),
    ("hf/*", ["tensor/*", "config/*"]),
    ("ops/*", ["tensor/*", "mesh/*", "config/*"]),
    ("modules/*.hpp", MODULES + ["ops/*", "mesh/*", "tensor/*", "config/*", "hf/hf_config.hpp", "hf/tensor_source.hpp"]),
    ("modules/*_convert.cpp", MODULES + ["hf/*", "tensor/*", "config/*", "mesh/*"]),
    (
        "modules/*_config.cpp",
        MODULES
        + OP_CONFIGS
        + ["config/*", "hf/hf_config.hpp", "mesh/mesh_shape.hpp", "mesh/mesh_device.hpp", "mesh/shards.hpp"]
        + ["tensor/dtype.hpp", "tensor/memory_config.hpp", "tensor/shape.hpp"],
    ),
    ("modules/*_forward.cpp", MODULES + ["ops/*", "mesh/*", "tensor/*", "config/*", "hf/hf_config.hpp"]),
    ("stage1_convert/*", MODULES + ["config/*", "hf/*", "tensor/*", "mesh/*"]),
    ("stage2_configure/*", MODULES + OP_CONFIGS + ["config/*", "hf/*", "tensor/*", "mesh/*"]),
    ("stage3_run/*", MODULES + ["config/*", "hf/*", "tensor/*", "mesh/*", "ops/*"]),
    ("generate/*", MODULES + ["stage3_run/*", "hf/*", "tensor/*", "config/*", "ops/*", "mesh/*"]),
    ("serve/*", ["generate/*", "hf/*", "config/*"]),
    (
        "cli/*",
        MODULES
        + ["stage1_convert/*", "stage2_configure/*", "stage3_run/*", "generate/*", "serve/*"]
        + ["ops/*", "mesh/*", "tensor/*", "config/*", "hf/*"],
    ),
]

# Headers from elsewhere, and generated ones, that stay behind one door.
DOORS = {"nlohmann/*": ["config/json.cpp"], "tensor_file_generated.h": ["tensor/*"]}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">\n]+)[">]', re.MULTILINE)


def allowed_includes(path):
    """What the file (relative to src/) may include, as patterns; None when no rule covers it."""
    for pattern, allowed in RULES:
        if fnmatchcase(path, pattern):
            room = path.split("/")[0]
            own = [] if room == "modules" else [f"{room}/*"]
            return ["base/*"] + [name for name in own if name != "base/*"] + allowed
    return None


def check_include(path, quote, target, root):
    """One message about `#include "target"` in `path`, or None."""
    for header, doors in DOORS.items():
        if fnmatchcase(target, header):
            is_door = any(fnmatchcase(path, door) for door in doors + ["*_test.cpp"])
            return None if is_door else f"includes {target}; only {', '.join(doors)} may"
    ours = (root / "src" / target).exists() or (root / target).exists()
    if quote == "<" and not ours:
        return None
    if quote == '"' and ("/" not in target or target.startswith(".")):
        return f"includes {target}; expected the path from src/, room first"
    if target.endswith(".cpp"):
        return f"includes {target}; expected a header"
    allowed = allowed_includes(path)
    if any(fnmatchcase(target, pattern) for pattern in allowed):
        return None
    return f"includes {target}; allowed here: {', '.join(allowed)}"


def lint(root):
    """Every violation below root/src as `file:line: message`."""
    problems = []
    for file in project_files(root):
        if file.parts[0] != "src" or file.suffix not in CPP_SUFFIXES:
            continue
        path = file.relative_to("src").as_posix()
        if allowed_includes(path) is None:
            problems.append(f"{file}:1: no rule covers this file; a module's .cpp ends in _convert, _config or _forward, "
                            "and a new room needs a row in tools/include_lint.py")
            continue
        text = without_comments((root / file).read_text(errors="replace"))
        for include in _INCLUDE.finditer(text):
            message = check_include(path, include[1], include[2], root)
            if message:
                problems.append(f"{file}:{line_of(text, include.start(2))}: {message}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="folder that holds src/")
    problems = lint(parser.parse_args().root)
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} forbidden includes")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
