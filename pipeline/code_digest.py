"""A digest of the code that computes, for TFX's cache."""

import hashlib
import importlib.util
import pathlib

# What every component runs.
_COMMON = ("models", "schemas", "components.artifacts", "components.examples")
_SUFFIXES = (".py", ".pbtxt", ".j2")


def code_digest(*names: str) -> str:
    """Digests the source that a component runs.

    TFX's cache knows a component by its parameters, not by its code: without this an edited model
    would silently get the output of the old one. What a component does not run is left out, or a
    chart would train all models anew.

    Args:
      *names: Packages, with all that is in them, and modules that are run beside those that all
        components run.
    """
    digest = hashlib.sha256()
    for name in sorted({*_COMMON, *names}):
        folder, paths = _source(name)
        for path in paths:
            digest.update(f"{name} {path.relative_to(folder)}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _source(name: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """Finds the folder and the files, sorted, of a package or a module."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"Expected a package or module of t2rec; got {name!r}.")
    path = pathlib.Path(spec.origin)
    if not spec.submodule_search_locations:
        return path.parent, [path]
    found = sorted(one for one in path.parent.rglob("*") if one.suffix in _SUFFIXES)
    return path.parent, found
