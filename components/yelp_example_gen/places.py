"""Where the data lie: paths, patterns and spans, as a user gives them."""

import json
import os
import re
from collections.abc import Sequence

from components.yelp_example_gen import file_names, storage

SPAN = "{SPAN}"
_WILDCARD = re.compile(r"[*?\[]|" + re.escape(SPAN))
_TOKEN = re.compile(re.escape(SPAN) + r"|\[!?[^\]]+\]|.", re.DOTALL)
_ROOT = re.compile(r"[a-zA-Z][-a-zA-Z0-9+.]*://[^/]*/?|/*")


def pack_paths(paths: Sequence[str]) -> str:
    """Writes one or several paths as one string; local ones become absolute.

    Args:
      paths: Directories, files or patterns, older data first.

    Returns:
      The path itself if it is one, otherwise a JSON list.
    """
    absolute = [os.path.abspath(path) if storage.is_local(path) else path for path in paths]
    return absolute[0] if len(absolute) == 1 else json.dumps(absolute)


def unpack_paths(data: str) -> list[str]:
    """Reads what `pack_paths` wrote, or any single path."""
    try:
        paths = json.loads(data)
    except ValueError:
        return [data]
    is_list = isinstance(paths, list) and paths and all(isinstance(path, str) for path in paths)
    return paths if is_list else [data]


def is_pattern(path: str) -> bool:
    """Tells whether a path has wildcards, and is not just a file whose name looks so."""
    if not _WILDCARD.search(path):
        return False
    return not (storage.is_local(path) and storage.exists(path))


def expand(pattern: str) -> list[str]:
    """Finds the files and directories that a pattern matches.

    Args:
      pattern: A path whose components may hold `*`, `?`, `[...]` and one of them `{SPAN}`, which
        stands for a number.

    Returns:
      Paths by ascending span, then by name, numbers in names counting as numbers.
    """
    root_match = _ROOT.match(pattern)
    root = root_match[0] if root_match else ""
    found = [(0, root)]
    is_fixed = True
    for component in pattern[len(root) :].strip("/").split("/"):
        is_fixed = is_fixed and not _WILDCARD.search(component)
        if is_fixed:
            found = [(span, _child(path, component)) for span, path in found]
        else:
            found = [
                (span if own_span is None else own_span, _child(path, name))
                for span, path in found
                for name, own_span in _match_names(path, component)
            ]
    return [path for _, path in sorted(found, key=lambda f: (f[0], file_names.sort_key(f[1])))]


def _child(directory: str, name: str) -> str:
    """Joins a name to a directory, or to the start of a path."""
    return directory + ("" if not directory or directory.endswith("/") else "/") + name


def _match_names(directory: str, component: str) -> list[tuple[str, int | None]]:
    """Lists the names in a directory that match, each with its span where it tells one."""
    regex = re.compile(_TOKEN.sub(_translate, component), re.DOTALL)
    matches = [
        (name, regex.fullmatch(name))
        for name in storage.list_names(directory) or ()
        if component.startswith(".") or not name.startswith(".")
    ]
    return [
        (name, int(match["span"]) if regex.groups else None) for name, match in matches if match
    ]


def _translate(token: re.Match[str]) -> str:
    """Writes a piece of a pattern as a regular expression."""
    text = token[0]
    if text == SPAN:
        return "(?P<span>[0-9]+)"
    if text.startswith("[") and len(text) > 1:
        return text.replace("[!", "[^", 1).replace("\\", "\\\\")
    # Lazy, so that a span behind it gets all of its digits.
    return {"*": ".*?", "?": "."}.get(text) or re.escape(text)
