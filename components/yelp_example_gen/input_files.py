"""The inputs as they are described: JSON-lines files, in a tar or not, and compressed tars."""

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator

from components.yelp_example_gen import archives, file_names, tables

# What a compressed tar holds of each table: how many times its own size.
_ARCHIVE_RATIOS = {tables.INTERACTIONS: 2.4, tables.USERS: 1.6, tables.BUSINESSES: 0.1}


@dataclasses.dataclass(frozen=True)
class InputFile:
    """Describes one JSON-lines file.

    Attributes:
      path: Where it lies, on any Beam filesystem.
      table: The table its lines are rows of.
      split: The split its rows are given to, or "" where the split is computed.
      size_bytes: Its size as stored.
      modified_seconds: When it was last changed, Unix time.
      member: Its name in the tar at `path`, or "" where it is the file at `path`.
      start: Where its content starts in the (decompressed) tar, in bytes.
      damage: Why the tar can't be read beyond this member, or "".
      num_name_parts: How much of the path it takes to tell it from the other inputs.
    """

    path: str
    table: str
    split: str
    size_bytes: int
    modified_seconds: float
    member: str = ""
    start: int = 0
    damage: str = ""
    num_name_parts: int = 1

    @property
    def name(self) -> str:
        """What a user finds it by: the end of its path, then its name in the tar."""
        stored = last_parts(self.path, self.num_name_parts)
        return f"{stored}/{self.member}" if self.member else stored

    @property
    def is_gzip(self) -> bool:
        """Whether the name says that it is compressed."""
        return self.name.endswith(".gz")


@dataclasses.dataclass(frozen=True)
class CompressedTar:
    """Describes a tar in gzip, whose members only a pass over all of it tells.

    Attributes:
      path: Where it lies, on any Beam filesystem.
      takes_splits: Whether the review files in it are those of given splits.
      size_bytes: Its size as stored.
      modified_seconds: When it was last changed, Unix time.
      num_name_parts: How much of the path it takes to tell it from the other inputs.
    """

    path: str
    takes_splits: bool
    size_bytes: int
    modified_seconds: float
    num_name_parts: int = 1

    is_gzip = True

    @property
    def name(self) -> str:
        """The end of its path."""
        return last_parts(self.path, self.num_name_parts)

    def describe(self, member: archives.Member) -> InputFile | None:
        """Describes a member; None if it is no input."""
        content = file_names.classify(posixpath.basename(member.name))
        if content is None or not content.is_wanted(self.takes_splits):
            return None
        return dataclasses.replace(
            self.stand_in(content.table, member.size_bytes),
            split=content.split,
            member=member.name,
            start=member.offset,
        )

    def stand_in(self, table: str, size_bytes: int) -> InputFile:
        """Describes the whole as a file of one table."""
        return InputFile(
            path=self.path,
            table=table,
            split="",
            size_bytes=size_bytes,
            modified_seconds=self.modified_seconds,
            num_name_parts=self.num_name_parts,
        )


Input = InputFile | CompressedTar


def expect_contents(files: Iterable[Input]) -> Iterator[InputFile]:
    """Stands in for compressed tars with the files that such a tar would hold.

    Args:
      files: The inputs.

    Yields:
      Files with a table and a size, to plan by.
    """
    for file in files:
        if isinstance(file, CompressedTar):
            for table, ratio in _ARCHIVE_RATIOS.items():
                stand_in = file.stand_in(table, int(file.size_bytes * ratio))
                yield dataclasses.replace(stand_in, member=f"{tables.FILE_KINDS[table]}.json")
        else:
            yield file


def last_parts(path: str, count: int) -> str:
    """Returns the last components of a path.

    Args:
      path: The path.
      count: How many.
    """
    return "/".join(path.split("/")[-count:])
