#!/usr/bin/env python3
"""Keeps functions and files short, and the tree tidy.

Budget over src/ and reference/: 95 of 100 functions have at most 40 lines, 95 of 100 files at most 400. Kernels
(src/ops/cpu) are left out of that. No function is longer than 120 lines and no file longer than 800, kernels included.
Tidiness: no `utils` folder, `#if` only in src/base and src/ops/cpu, no path of a developer's machine.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

from cpp_source import CPP_SUFFIXES, line_of, project_files, without_comments, without_comments_and_literals, without_directives

P95_LINES = {"function": 40, "file": 400}
MAX_LINES = {"function": 120, "file": 800}
MEASURED = ("src", "reference")
KERNELS = Path("src/ops/cpu")
MAY_BRANCH = (Path("src/base"), KERNELS)

_PREFIX = re.compile(r"\s*(?:(?:public|private|protected)\s*:(?!:)|\[\[.*?\]\]|alignas\s*\([^()]*\))", re.DOTALL)
_SCOPE = re.compile(r"(?:(?:inline|static|constexpr|typedef|export|extern)\b\s*)*(?:(?:namespace|class|struct|union|enum)\b|\"\s*\"\s*$)")
_LAMBDA = re.compile(r"\]\s*(?:<[^{}]*>\s*)?(?:\([^{}]*\)\s*)?(?:\w+\s*)*(?:->[^{}()]*)?$")
_NAME = re.compile(r"((?:\w+(?:<[^()]*>)?::)*(?:operator\s*(?:[^\s\w(]+|[\w:]+)|~?\w+))\s*$")
_BRANCH = re.compile(r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef|elif|elifdef|elifndef)\b", re.MULTILINE)
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)(?=/)")


class Item(NamedTuple):
    """A function or a file: where it is, its name, its lines."""

    where: str
    name: str
    lines: int
    kernel: bool


class UnbalancedBraces(Exception):
    pass


def _match(text, opening, pair):
    """Offset behind the bracket that closes the one at `opening`."""
    depth = 0
    for offset in range(opening, len(text)):
        depth += (text[offset] == pair[0]) - (text[offset] == pair[1])
        if depth == 0:
            return offset + 1
    raise UnbalancedBraces(opening)


def _strip_prefixes(head):
    """The declaration without access labels, attributes and template parameter lists; and where it begins in `head`."""
    start = 0
    while True:
        rest = head[start:]
        prefix = _PREFIX.match(rest)
        if prefix:
            start += prefix.end()
            continue
        template = re.match(r"\s*template\s*<", rest)
        if not template:
            return rest.lstrip(), start + len(rest) - len(rest.lstrip())
        depth = 0
        for offset in range(template.end() - 1, len(rest)):
            depth += (rest[offset] == "<") - (rest[offset] == ">" and rest[offset - 1] != "-")
            if depth == 0:
                break
        start += offset + 1


def _outside_brackets(text):
    """The text with everything inside (), [] and {} removed, the brackets themselves kept."""
    out, depth = [], 0
    for char in text:
        depth -= char in ")]}"
        if depth <= 0:
            out.append(char)
        depth += char in "([{"
    return "".join(out)


def _classify(head):
    """What a brace behind `head` opens: "scope", "function" or "value"."""
    declaration, _ = _strip_prefixes(head)
    flat = _outside_brackets(declaration)
    if _SCOPE.match(declaration) and "(" not in flat:
        return "scope"
    assigned = re.search(r"(?<![=!<>])=(?!=)", re.sub(r"operator\s*[^\s\w(]+", "operator", flat))
    if assigned:
        return "function" if _LAMBDA.search(declaration) else "value"
    if "(" not in flat:
        return "value"
    in_member_initialisers = re.search(r"\)[^?]*(?<!:):(?!:)", flat)
    if in_member_initialisers and re.search(r"[\w>]\s*$", declaration):
        return "value"
    return "function"


def _function_name(head):
    declaration = re.sub(r"operator\s*\(\s*\)", "operator", _strip_prefixes(head)[0])
    before_parameters = _outside_brackets(declaration).split("(")[0]
    name = _NAME.search(re.sub(r"=\s*\[.*", "", before_parameters))
    return name[1] if name else before_parameters.strip()


def functions(text):
    """(name, first line, lines) of every function body in C++ text; lambdas count to the function around them."""
    text = without_directives(without_comments_and_literals(text))
    found, offset, head_start = [], 0, 0
    depth = parens = 0
    while offset < len(text):
        char = text[offset]
        parens += (char == "(") - (char == ")")
        if char == "{":
            head = text[head_start:offset]
            kind = "value" if parens > 0 else _classify(head)
            if kind == "scope":
                depth += 1
                head_start = offset + 1
            else:
                end = _match(text, offset, "{}")
                if kind == "function":
                    first = line_of(text, head_start + _strip_prefixes(head)[1])
                    found.append((_function_name(head), first, line_of(text, end - 1) - first + 1))
                    head_start = end
                offset = end
                continue
        elif char == "}":
            depth -= 1
            head_start = offset + 1
            if depth < 0:
                raise UnbalancedBraces(offset)
        elif char == ";" and parens == 0:
            head_start = offset + 1
        offset += 1
    if depth != 0 or parens != 0:
        raise UnbalancedBraces(len(text))
    return found


def measure(root, files):
    """Items of the two kinds, and problems of files that could not be read as C++."""
    items, problems = {"function": [], "file": []}, []
    for file in files:
        if file.parts[0] not in MEASURED or file.suffix not in CPP_SUFFIXES:
            continue
        text = (root / file).read_text(errors="replace")
        kernel = file.is_relative_to(KERNELS)
        items["file"].append(Item(str(file), file.name, len(text.splitlines()), kernel))
        try:
            for name, line, lines in functions(text):
                items["function"].append(Item(f"{file}:{line}", name, lines, kernel))
        except UnbalancedBraces as error:
            problems.append(f"{file}:{line_of(text, error.args[0])}: the brackets do not match here; each #if branch must close what it opens")
    return items, problems


def p95(items):
    """The smallest length that 95 of 100 items do not exceed; 0 without items."""
    lengths = sorted(item.lines for item in items)
    return lengths[-(-95 * len(lengths) // 100) - 1] if lengths else 0


def check_budget(kind, items):
    ordinary = [item for item in items if not item.kernel]
    problems = [
        f"{item.where}: {kind} {item.name} has {item.lines} lines; the limit is {MAX_LINES[kind]}"
        for item in items
        if item.lines > MAX_LINES[kind]
    ]
    if p95(ordinary) > P95_LINES[kind]:
        problems.append(f"p95 of {kind} lengths is {p95(ordinary)} lines; the budget is {P95_LINES[kind]}")
    return problems


def check_tidiness(root, files):
    problems = []
    for file in files:
        if {"util", "utils"} & set(file.parts[:-1]):
            problems.append(f"{file}:1: lies in a utils folder; put it into the room that owns the idea")
        content = (root / file).read_bytes()
        if b"\0" in content[:8192]:
            continue
        text = content.decode(errors="replace")
        if file.suffix in CPP_SUFFIXES and not any(file.is_relative_to(folder) for folder in MAY_BRANCH):
            code = without_comments(text)
            problems += [
                f"{file}:{line_of(code, branch.start())}: `{branch[0].strip()}` outside src/base and src/ops/cpu; let CMake choose a file"
                for branch in _BRANCH.finditer(code)
            ]
        if file.suffix != ".json":
            problems += [f"{file}:{line_of(text, path.start())}: names a path of one machine, {path[0]}/" for path in _MACHINE_PATH.finditer(text)]
    return problems


def report(kind, items):
    ordinary = [item for item in items if not item.kernel]
    print(f"{kind}s: {len(ordinary)}, p95 {p95(ordinary)} lines (budget {P95_LINES[kind]}); kernels: {len(items) - len(ordinary)}; longest:")
    for item in sorted(items, key=lambda item: -item.lines)[:10]:
        print(f"  {item.lines:4d}  {item.where}  {item.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the project's folder")
    root = parser.parse_args().root
    files = project_files(root)
    items, problems = measure(root, files)
    for kind in items:
        report(kind, items[kind])
        problems += check_budget(kind, items[kind])
    problems += check_tidiness(root, files)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
