#!/usr/bin/env python3
"""Checks docs/configs.md: every row of a table with a column `test` names at least one, and each named test exists in the sources."""

import argparse
import re
import sys
from pathlib import Path

from cpp_source import project_files, without_comments

DOCUMENT = Path("docs/configs.md")

_DEFINITION = re.compile(r"\bTEST(?:_F|_P)?\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)")
_NAMED = re.compile(r"`(\w+\.\w+)`")
_CELL = re.compile(r"(?<!\\)\|")


def defined_tests(root):
    """`Suite.Name` of every test in the tree."""
    tests = set()
    for file in project_files(root):
        if file.suffix == ".cpp" and file.parts[0] in ("src", "tests"):
            text = without_comments((root / file).read_text(errors="replace"))
            tests |= {f"{suite}.{name}" for suite, name in _DEFINITION.findall(text)}
    return tests


def rows(text):
    """(line number, rule, test column) of every row of the tables whose last column is called `test`."""
    in_table = False
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in _CELL.split(line.strip())[1:-1]]
        if not cells:
            in_table = False
        elif not in_table:
            in_table = cells[-1] == "test"
        elif set("".join(cells)) - set("-:"):
            yield number, cells[0], cells[-1]


def check(root):
    """Every violation as `file:line: message`."""
    known = defined_tests(root)
    found = list(rows((root / DOCUMENT).read_text()))
    problems = [] if found else [f"{DOCUMENT}:1: has no table with a column `test`"]
    for number, rule, tests in found:
        named = _NAMED.findall(tests)
        if not named:
            problems.append(f"{DOCUMENT}:{number}: names no test that proves it: {rule}")
        problems += [f"{DOCUMENT}:{number}: there is no test {name}" for name in named if name not in known]
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the project's folder")
    problems = check(parser.parse_args().root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
