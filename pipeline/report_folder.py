"""The report of a run's root: its files, and the page that is built from them."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import InputError

METRICS, PAGE, PREVIOUS, HTML = "metrics.json", "page.json", "previous.json", "index.html"

# Two runs that differ in nothing else are one and the same.
_OF_THE_MACHINE = ("timings", "memory_mb", "cached")


class ReportFolder:
    """`metrics.json` for programs, `index.html` for people, and what the latter is built from.

    Attributes:
      path: The folder.
    """

    def __init__(self, path: str):
        """Names the folder; nothing is read or made yet."""
        self.path = path

    @property
    def page(self) -> str:
        """The page."""
        return os.path.join(self.path, HTML)

    def write(self, metrics: Mapping[str, Any], page: Mapping[str, Any]) -> None:
        """Writes a run's metrics and page data; another run's become those of the run before.

        Args:
          metrics: Content of `metrics.json`.
          page: Content of `page.json`.
        """
        os.makedirs(self.path, exist_ok=True)
        before = {"metrics": self._read(METRICS), "page": self._read(PAGE)}
        if all(before.values()) and _results(before["metrics"]) != _results(metrics):
            self._write(PREVIOUS, json.dumps(before) + "\n")
        self._write(PAGE, json.dumps(page) + "\n")
        self._write(METRICS, json.dumps(metrics, indent=2) + "\n")

    def build(self) -> str:
        """Builds `index.html` of what is there.

        Returns:
          Its path.

        Raises:
          InputError: If there is no report.
        """
        from components.report import page

        metrics, shown = self.read()
        self._write(HTML, page.build(metrics, shown, self._read(PREVIOUS) or None))
        return self.page

    def read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the metrics and the page data.

        Raises:
          InputError: If there are none.
        """
        metrics = self._read(METRICS)
        if not metrics:
            raise InputError(
                f"Expected the report of a run in {self.path!r}; got no {METRICS} there. Run "
                "`t2rec run` with this root first, or give another one."
            )
        return metrics, self._read(PAGE)

    def _read(self, name: str) -> dict[str, Any]:
        path = os.path.join(self.path, name)
        if not os.path.exists(path):
            return {}
        try:
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        except ValueError as error:
            raise InputError(
                f"Expected JSON in {path!r}; it does not parse ({error}). Run the pipeline again."
            ) from error

    def _write(self, name: str, content: str) -> None:
        path = os.path.join(self.path, name)
        with open(f"{path}.incoming", "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(f"{path}.incoming", path)


def _results(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metrics.items() if key not in _OF_THE_MACHINE}


def compare(first: ReportFolder, second: ReportFolder, names: Sequence[str], path: str) -> None:
    """Writes a page that sets two runs side by side.

    Args:
      first: Report of one run.
      second: Report of the other.
      names: What to call them.
      path: HTML file to write.

    Raises:
      InputError: If one has no report.
    """
    from components.report import page

    runs = [(name, *folder.read()) for name, folder in zip(names, (first, second), strict=True)]
    with open(path, "w", encoding="utf-8") as file:
        file.write(page.compare(runs))
