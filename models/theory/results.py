"""Results of an experiment as a CSV file that a killed run goes on with."""

import csv
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import InputError

Row = Mapping[str, str]


class Results:
    """Rows on disk, one a finished cell, known by the columns that say what the cell was."""

    def __init__(self, path: str, keys: Sequence[str], values: Sequence[str]):
        """Reads what an earlier run left; a line that a kill cut off is dropped.

        Args:
          path: The CSV file; made if it is not there.
          keys: Columns that say what was run.
          values: Columns that say what came of it.

        Raises:
          InputError: If the file has other columns.
        """
        self._path = pathlib.Path(path)
        self._keys = tuple(keys)
        self._columns = (*keys, *values)
        self.rows: list[Row] = []
        if self._path.exists():
            text = self._path.read_text(encoding="utf-8")
            lines = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
            if lines and tuple(lines[0]) != self._columns:
                raise InputError(
                    f"Expected results with the columns {','.join(self._columns)} in {path!r}; got "
                    f"{','.join(lines[0])}, those of another release. Choose another folder, or "
                    "move the file away."
                )
            whole = [line for line in lines[1:] if len(line) == len(self._columns)]
            self.rows = [dict(zip(self._columns, line, strict=True)) for line in whole]
        self._rewrite()

    def _rewrite(self) -> None:
        incoming = self._path.with_suffix(".incoming")
        with open(incoming, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._columns)
            writer.writerows([row[column] for column in self._columns] for row in self.rows)
        os.replace(incoming, self._path)

    def has(self, cell: Mapping[str, Any]) -> bool:
        """Tells whether a cell, by its key columns, is done."""
        wanted = {column: _text(cell[column]) for column in self._keys}
        return any(wanted.items() <= row.items() for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a finished cell, so that it is on disk when this returns."""
        self.rows.append({column: _text(row[column]) for column in self._columns})
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(self.rows[-1].values())


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
