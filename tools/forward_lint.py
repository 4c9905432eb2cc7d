#!/usr/bin/env python3
"""A forward() runs what its config says, and nothing else: no *_forward.cpp of a module asks for the mode."""

import argparse
import re
import sys
from pathlib import Path

from cpp_source import line_of, project_files, without_comments

_MODE = re.compile(r"\bMode::|[.>]\s*mode\b")


def lint(root):
    """Every mention of the mode in a forward as `file:line: message`."""
    problems = []
    for file in project_files(root):
        if file.parts[:2] != ("src", "modules") or not file.name.endswith("_forward.cpp"):
            continue
        text = without_comments((root / file).read_text(errors="replace"))
        for found in _MODE.finditer(text):
            problems.append(f"{file}:{line_of(text, found.start())}: a forward reads the mode; put what differs into the operator configs")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="folder that holds src/")
    problems = lint(parser.parse_args().root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
