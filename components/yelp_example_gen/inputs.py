"""The input files: which are expected, which are there, and whether they have changed."""

import collections
import dataclasses
import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence

from components.yelp_example_gen import (
    archives,
    explanations,
    file_names,
    gzips,
    input_files,
    places,
    splits,
    storage,
    tables,
)
from components.yelp_example_gen.input_files import CompressedTar, Input, InputFile
from models import errors, features

_SPLIT_ORDER = ("", *features.INTERACTION_SPLITS)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Holds what there is at a path: inputs, and the names of all files."""

    path: str
    found: Sequence[Input]
    names: list[str]


def find_inputs(data: str, method: str) -> tuple[Input, ...]:
    """Finds the files of all tables.

    Args:
      data: Where they are, as `places.pack_paths` writes it: directories, files, tars, patterns;
        rows of later ones supersede those of earlier ones.
      method: The split method; `given` asks for one review file a split.

    Returns:
      The inputs in the order of their rows: by path as given, and in each place the reviews (of
      train, eval, test), then the users, then the businesses.

    Raises:
      InputError: If a place can't be read or holds nothing of use, if a file that is needed is
        missing, or there twice.
    """
    given = method == splits.GIVEN
    found_at = []
    for path in places.unpack_paths(data):
        try:
            found_at += _look_at(path, given)
        except errors.InputError:
            raise
        except Exception as error:  # Each filesystem has errors of its own.
            raise errors.InputError(explanations.explain_unreachable(path, error)) from error
    found = [file for place in found_at for file in place.found]
    _check_repeats(found)
    missing = _missing_splits(found, given)
    if missing:
        raise errors.InputError(
            explanations.explain_missing(
                {place.path: place.names for place in found_at}, missing, given
            )
        )
    num_name_parts = _count_name_parts([file.path for file in found])
    return tuple(dataclasses.replace(file, num_name_parts=num_name_parts) for file in found)


def fingerprint(files: Iterable[Input]) -> str:
    """Digests names, sizes and modification times of the input files.

    Args:
      files: The inputs.

    Returns:
      64 hexadecimal digits that change when an input file does.
    """
    lines = [f"{file.name} {file.size_bytes} {file.modified_seconds!r}" for file in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _look_at(pattern: str, given: bool) -> list[_Place]:
    """Looks at the places that a path or a pattern means.

    Raises:
      InputError: If there is none, or it holds nothing of use.
    """
    is_pattern = places.is_pattern(pattern)
    paths = places.expand(pattern) if is_pattern else [pattern]
    looked_at = [_open_place(path, given, is_pattern) for path in paths]
    if any(place.found for place in looked_at):
        return looked_at
    if not looked_at:
        raise errors.InputError(
            f"{explanations.expect([], given)}; nothing matches {pattern}. Check the pattern."
        )
    raise errors.InputError(
        explanations.explain_missing({place.path: place.names for place in looked_at}, [], given)
    )


def _open_place(path: str, given: bool, is_matched: bool) -> _Place:
    """Finds the inputs in a directory or a tar, or the one that a file is.

    Raises:
      InputError: If there is nothing, or nothing that can be read.
    """
    names = storage.list_names(path)
    if names is not None:
        return _open_directory(path, names, given)
    if not storage.exists(path):
        raise errors.InputError(
            f"{explanations.expect([], given)}; there is nothing at {path}. Check the path."
        )
    name = posixpath.basename(path)
    content = file_names.classify(name, chosen=True)
    if content:
        found = [_describe(path, content)] if content.is_wanted(given) else []
        return _Place(path, found, [name])
    if is_matched and not name.endswith(explanations.ARCHIVE_SUFFIXES):
        return _Place(path, [], [name])
    return _open_archive(path, given)


def _open_directory(path: str, names: dict[str, bool], given: bool) -> _Place:
    """Finds the inputs in a directory.

    Raises:
      InputError: If there is a directory in the place of a file.
    """
    contents = {name: content for name in names if (content := file_names.classify(name))}
    for name in contents:
        if names[name]:
            raise errors.InputError(
                f"Expected {name} in {path} to be a file; it is a directory. Put the file itself "
                f"there, or pass {storage.join(path, name, '*.json')} if its files are named for "
                "their table."
            )
    found = [
        _describe(storage.join(path, name), content)
        for name, content in contents.items()
        if content.is_wanted(given)
    ]
    return _Place(path, _in_order(found), list(names))


def _open_archive(path: str, given: bool) -> _Place:
    """Finds the inputs in a tar.

    Raises:
      InputError: If the file is none.
    """
    metadata = _probe(path)
    name = posixpath.basename(path)
    with storage.open_raw(path) as stream:
        header = stream.read(archives.HEADER_BYTES)
        if header.startswith(archives.GZIP_MAGIC):
            size, modified = metadata
            return _Place(path, [CompressedTar(path, given, size, modified)], [name])
        if header.startswith(archives.ZIP_MAGIC):
            raise errors.InputError(
                f"{explanations.expect([], given)}; {path} is a zip. Unzip it, then pass the tar "
                "or the directory that comes out."
            )
        if not archives.is_tar(header):
            raise errors.InputError(
                f"{explanations.expect([], given)}; {path} is a file, but neither a tar nor named "
                "for reviews, users or businesses. Pass Yelp's tar, or name the file as Yelp does."
            )
        stream.seek(0)
        return _list_tar(path, metadata, archives.walk_members(stream, metadata[0]), given)


def _list_tar(
    path: str, metadata: tuple[int, float], walk: Iterator[archives.Member], given: bool
) -> _Place:
    """Finds the inputs in a tar by its headers; damage is that of the last input before it."""
    size_bytes, modified_seconds = metadata
    found: list[InputFile] = []
    names: list[str] = []
    damage = ""
    try:
        for member in walk:
            names.append(member.name)
            content = file_names.classify(posixpath.basename(member.name))
            if content and content.is_wanted(given):
                stored_bytes = max(0, min(member.size_bytes, size_bytes - member.offset))
                found.append(
                    InputFile(
                        path=path,
                        table=content.table,
                        split=content.split,
                        size_bytes=stored_bytes,
                        modified_seconds=modified_seconds,
                        member=member.name,
                        start=member.offset,
                    )
                )
    except gzips.DamageError as error:
        damage = str(error)
    if found:
        found[-1] = dataclasses.replace(found[-1], damage=damage)
    return _Place(path, _in_order(found), names + [f"({damage})"] * bool(damage))


def _describe(path: str, content: file_names.Content) -> InputFile:
    """Describes a file that can be read."""
    size_bytes, modified_seconds = _probe(path)
    return InputFile(path, content.table, content.split, size_bytes, modified_seconds)


def _probe(path: str) -> tuple[int, float]:
    """Makes sure that a file can be read; returns its size and its modification time.

    Raises:
      InputError: If it can't.
    """
    try:
        metadata = storage.describe(path)
        with storage.open_raw(path) as stream:
            stream.read(1)
    except Exception as error:  # Each filesystem has errors of its own.
        raise errors.InputError(
            f"Expected a file that can be read at {path}; got {type(error).__name__}: {error}. "
            "Check its access rights."
        ) from error
    return metadata.size_in_bytes, metadata.last_updated_in_seconds


def _in_order(files: Iterable[InputFile]) -> list[InputFile]:
    """Orders the files of one place: by table, split and name."""
    order = list(tables.SCHEMAS)
    return sorted(
        files,
        key=lambda file: (
            order.index(file.table),
            _SPLIT_ORDER.index(file.split),
            file_names.sort_key(file.name),
        ),
    )


def _check_repeats(found: Sequence[Input]) -> None:
    """Refuses a file that is there twice: both plain and compressed, or named by two paths.

    Raises:
      InputError: If there is one.
    """
    counts = collections.Counter(
        (file.path, file.start if isinstance(file, InputFile) else 0) for file in found
    )
    for (path, _), count in counts.items():
        if count > 1:
            raise errors.InputError(
                f"Expected each file once; {path} is meant by {count} of the paths given as data. "
                "Name it once."
            )
    whole = {
        storage.join(file.path, file.member) if file.member else file.path
        for file in found
        if isinstance(file, InputFile)
    }
    for path in sorted(whole):
        if f"{path}.gz" in whole:
            folder, name = posixpath.split(path)
            raise errors.InputError(
                f"Expected either {name} or {name}.gz in {folder}, found both; remove one."
            )


def _missing_splits(found: Sequence[Input], given: bool) -> list[str]:
    """Lists the splits whose reviews are missing; what a compressed tar has shows later."""
    if any(isinstance(file, CompressedTar) for file in found):
        return []
    reviews = [file for file in found if isinstance(file, InputFile)]
    have = {file.split for file in reviews if file.table == tables.INTERACTIONS}
    needed = (features.TRAIN, features.TEST) if given else ("",)
    return [split for split in needed if split not in have]


def _count_name_parts(paths: Iterable[str]) -> int:
    """Counts the path components, from the end, that it takes to tell different paths apart."""
    distinct = set(paths)
    count = 1
    while len({input_files.last_parts(path, count) for path in distinct}) < len(distinct):
        count += 1
    return count
