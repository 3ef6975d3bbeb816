"""Files on any Beam filesystem: local paths, gs:// and the like."""

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pyarrow as pa
from apache_beam.io import filesystem, filesystems


def open_raw(path: str) -> BinaryIO:
    """Opens a file to read its bytes as stored, whatever its name says of compression."""
    return filesystems.FileSystems.open(
        path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
    )


def open_arrow(path: str) -> pa.NativeFile | BinaryIO:
    """Opens a file for Arrow, which looks into a local one by itself in a third of the time."""
    return pa.OSFile(path) if is_local(path) else open_raw(path)


def publish(path: str, chunks: Iterable[bytes], temp_dir: str) -> None:
    """Writes a file under a temporary name and renames it, so that a retry overwrites it whole.

    Args:
      path: The final path, in an existing directory of the same filesystem as `temp_dir`.
      chunks: The content.
      temp_dir: Where the temporary file goes: never the final directory, whose every file is data.
    """
    with publishing(path, temp_dir) as stream:
        for chunk in chunks:
            stream.write(chunk)


@contextlib.contextmanager
def publishing(path: str, temp_dir: str) -> Iterator[BinaryIO]:
    """Opens the file that `publish` would write; it appears if the block ends without an error."""
    temp_path = join(temp_dir, f"{uuid.uuid4().hex}.tmp")
    with filesystems.FileSystems.create(
        temp_path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
    ) as stream:
        yield stream
    filesystems.FileSystems.rename([temp_path], [path])


def join(directory: str, *names: str) -> str:
    """Joins path components the way the directory's filesystem does."""
    return filesystems.FileSystems.join(directory, *names)


def is_local(path: str) -> bool:
    """Tells whether a path has no scheme."""
    return filesystems.FileSystems.get_scheme(path) is None


def exists(path: str) -> bool:
    """Tells whether there is a file."""
    return filesystems.FileSystems.exists(path)


def describe(path: str) -> filesystem.FileMetadata:
    """Returns the size and the modification time of a file."""
    return filesystems.FileSystems.get_filesystem(path).metadata(path)


def list_names(directory: str) -> dict[str, bool] | None:
    """Lists a directory, by name.

    Args:
      directory: A path without wildcards, unless it is local.

    Returns:
      Whether each entry is known to be a directory itself; None where there is no such directory,
      as for an empty one where directories are but prefixes.
    """
    # Beam lists a local directory by walking the whole tree below it, which could be a home.
    if is_local(directory):
        if not os.path.isdir(directory or "."):
            return None
        with os.scandir(directory or ".") as entries:
            return {entry.name: entry.is_dir() for entry in sorted(entries, key=lambda e: e.name)}
    prefix = directory.rstrip("/") + "/"
    try:
        (found,) = filesystems.FileSystems.match([f"{prefix}**"])
    except filesystem.BeamIOError:
        if exists(directory):  # HDFS can't list a file.
            return None
        raise
    names: dict[str, bool] = {}
    for path in sorted(metadata.path for metadata in found.metadata_list):
        name, slash, _ = path.removeprefix(prefix).partition("/")
        if name:
            names[name] = names.get(name, False) or bool(slash)
    return names or None
