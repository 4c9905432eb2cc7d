"""What the checks of this folder share: which files the project has, and C++ text without comments and literals."""

import os
import re
import subprocess
from pathlib import Path

CPP_SUFFIXES = (".cpp", ".hpp", ".h")

_TOKEN = re.compile(
    r"""(?P<comment>//(?:\\\n|[^\n])*|/\*.*?(?:\*/|\Z))
      |(?P<raw>\b(?:u8|[uUL])?R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)")
      |(?P<string>"(?:\\.|[^"\\\n])*")
      |(?P<number>\b\d(?:[\w.]|'\w)*)
      |(?P<char>'(?:\\.|[^'\\\n])*')""",
    re.DOTALL | re.VERBOSE,
)
_DIRECTIVE = re.compile(r"^[ \t]*\#(?:\\\n|[^\n])*", re.MULTILINE)


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    """The text with comments replaced by spaces: offsets and line numbers stay. Literals are kept."""
    return _TOKEN.sub(lambda token: _blank(token[0]) if token["comment"] else token[0], text)


def without_comments_and_literals(text):
    """As without_comments(), and what lies between the quotes of strings and characters is blank too."""

    def blank(token):
        if token["number"]:
            return token[0]
        if token["comment"]:
            return _blank(token[0])
        return token[0][0] + _blank(token[0][1:-1]) + token[0][-1]

    return _TOKEN.sub(blank, text)


def without_directives(text):
    """The text with preprocessor lines blank. Expects a text without comments."""
    return _DIRECTIVE.sub(lambda directive: _blank(directive[0]), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def project_files(root):
    """Paths below `root`, relative and sorted: what git tracks or would add; without git, everything but build output."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="surrogateescape").split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = _walk(root)
    return sorted({Path(name) for name in listed if name and (Path(root) / name).is_file()})


def _walk(root):
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in (".git", ".cache", "__pycache__") and not name.startswith("build")]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)
