"""The pipeline's Dockerfile, followed line by line without Docker."""

import ast
import importlib.metadata
import pathlib
import re
import subprocess
import sys

import pytest
from image_harness import Image, last_stage, read_steps
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[2]
DOCKERFILE = ROOT / "pipeline" / "deploy" / "Dockerfile"

# Files of a package that are code or data, by what Python calls them.
_PACKAGES = ("pipeline", "components", "models", "schemas", "serving")


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Image:
    image = Image(tmp_path_factory.mktemp("image"))
    image.follow(last_stage(read_steps(DOCKERFILE)), ROOT)
    return image


def test_everything_that_is_imported_or_read_is_installed(image):
    installed = image.root / "site-packages"
    for package in _PACKAGES:
        wanted = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.suffix in (".py", ".pbtxt", ".yaml", ".html", ".j2")
            and "deploy" not in path.parts
            and "__pycache__" not in path.parts
        }
        missing = [path for path in wanted if not (installed / path).exists()]
        assert wanted and not missing


def test_commands_start_in_the_image(image):
    (entrypoint,) = image.entrypoint(read_steps(DOCKERFILE))
    program = image.root / "site-packages" / "bin" / entrypoint
    done = subprocess.run(
        [sys.executable, program, "--help"],
        cwd=image.root / "work", env=image.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "submit" in done.stdout
    assert (program.parent / "t2rec-beam-worker").exists()


def test_what_the_code_imports_is_what_the_image_has(image):
    """Every import of ours is of ourselves, the standard library, or a package of the lock."""
    lock = {
        canonicalize_name(Requirement(line).name)
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if re.match(r"[a-zA-Z]", line)
    }
    owners: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        for top in {file.parts[0].split(".")[0] for file in distribution.files or ()}:
            owners.setdefault(top, set()).add(name)
    known = set(_PACKAGES) | sys.stdlib_module_names
    for path in (image.root / "site-packages").glob("*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - known:
                # `google` belongs to many.
                assert owners.get(top, set()) & lock, f"{path.name}: {top} is not in the lock"


def test_the_lock_is_what_is_installed_here(image):
    """In place of the image's own installation, which takes a minute and 3 GB."""
    differing = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not re.match(r"[a-zA-Z]", line):
            continue
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        version = importlib.metadata.version(wanted.name)
        if not wanted.specifier.contains(version, prereleases=True):
            differing[wanted.name] = (version, str(wanted.specifier))
    assert not differing


def test_dependencies_come_before_the_code(image):
    steps = read_steps(DOCKERFILE)
    texts = [f"{step.kind} {step.rest}" for step in steps]
    lock = next(i for i, text in enumerate(texts) if "-r requirements.lock" in text)
    code = [i for i, text in enumerate(texts) if text.split()[:2] == ["COPY", "models"]]
    assert lock < min(code)
    assert "COPY requirements.lock ./" in texts


def test_what_is_compiled_has_a_compiler_and_what_is_linked_a_library():
    """The slim image has neither gcc nor OpenMP."""
    compiled = [
        distribution.name
        for distribution in importlib.metadata.distributions()
        if "-linux_x86_64" in (distribution.read_text("WHEEL") or "")
    ]
    stages = [step.rest.split()[0] for step in read_steps(DOCKERFILE) if step.kind == "FROM"]
    assert compiled and stages == ["python:3.10-bookworm", "python:3.10-slim-bookworm"]
    assert any("libgomp1" in step.rest for step in last_stage(read_steps(DOCKERFILE)))


def test_a_wrong_path_fails(tmp_path):
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(DOCKERFILE.read_text().replace("COPY models models", "COPY model models"))
    with pytest.raises(FileNotFoundError, match="model"):
        Image(tmp_path / "image").follow(last_stage(read_steps(wrong)), ROOT)
