"""Follows a Dockerfile without Docker: what it copies and runs, in a clean folder."""

import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys


@dataclasses.dataclass(frozen=True)
class Step:
    """An instruction of a Dockerfile.

    Attributes:
      kind: `FROM`, `RUN`, `COPY`, …
      rest: What follows, continued lines joined.
    """

    kind: str
    rest: str


def read_steps(path: pathlib.Path) -> list[Step]:
    """Reads a Dockerfile's instructions."""
    lines = [line for line in path.read_text().splitlines() if not line.strip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.split(None, 1)) for line in text.splitlines() if line.strip()]


def last_stage(steps: list[Step]) -> list[Step]:
    """Returns the instructions of the stage that becomes the image."""
    start = max(place for place, step in enumerate(steps) if step.kind == "FROM")
    return steps[start:]


class Image:
    """A folder that stands for the image's root, and the environment of its processes.

    Attributes:
      root: The folder.
      environment: Environment variables; PATH begins with this interpreter's folder, where the
        image has that of its virtual environment.
    """

    def __init__(self, root: pathlib.Path):
        """Makes an empty image."""
        self.root = root
        self.environment: dict[str, str] = {
            "PATH": f"{pathlib.Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(root / "site-packages"),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        }
        self._workdir = pathlib.PurePosixPath("/")

    def follow(self, steps: list[Step], context: pathlib.Path) -> None:
        """Follows a stage's instructions; what only a package manager can do is left out.

        Args:
          steps: The instructions.
          context: The folder that the image is built from.
        """
        for step in steps:
            if step.kind == "ENV":
                for pair in shlex.split(step.rest):
                    name, value = pair.split("=", 1)
                    if name != "PATH":
                        self.environment[name] = value
            elif step.kind == "WORKDIR":
                self._workdir = self._workdir / step.rest
                self._at(self._workdir).mkdir(parents=True, exist_ok=True)
            elif step.kind == "COPY" and not step.rest.startswith("--from="):
                self._copy(*step.rest.split(), context=context)
            elif step.kind == "RUN" and not re.search(r"apt-get|-r requirements\.lock", step.rest):
                self._run(step.rest)

    def _at(self, path: pathlib.PurePosixPath) -> pathlib.Path:
        return self.root / str(path).lstrip("/")

    def _copy(self, *paths: str, context: pathlib.Path) -> None:
        *sources, target = paths
        place = self._at(self._workdir / target)
        for source in sources:
            if (context / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(context / source, place, dirs_exist_ok=True, ignore=ignored)
            else:
                into = place / source if target.endswith("/") else place
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(context / source, into)

    def _run(self, command: str) -> None:
        """Runs a command; what it installs goes to the folder that PYTHONPATH names."""
        installs = f" --no-build-isolation --quiet --target {self.root / 'site-packages'}"
        subprocess.run(
            command.replace("pip install", "python -m pip install" + installs),
            shell=True, cwd=self._at(self._workdir), check=True, env=self.environment,
        )  # fmt: skip

    def entrypoint(self, steps: list[Step]) -> list[str]:
        """Returns the command that the image starts."""
        (step,) = [step for step in steps if step.kind == "ENTRYPOINT"]
        return json.loads(step.rest)
