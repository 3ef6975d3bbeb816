"""What was expected as input, what came and what to do: the texts of the input's errors."""

import posixpath
from collections.abc import Mapping, Sequence

from components.yelp_example_gen import file_names, storage, tables
from models import features

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")

_NUM_LISTED_NAMES = 8
_PACKAGES = {"gs": "apache-beam[gcp]", "s3": "apache-beam[aws]", "azfs": "apache-beam[azure]"}


def expect(missing: Sequence[str], given: bool) -> str:
    """Says what was expected.

    Args:
      missing: The splits whose reviews are missing; empty if all are.
      given: Whether the split method is `given`.
    """
    missing = missing or ((features.TRAIN, features.TEST) if given else ("",))
    stem = "yelp_academic_dataset_review"
    names = [f"{stem}.{split}.json[.gz]" if split else f"{stem}.json[.gz]" for split in missing]
    method = " (split.method is given)" if given else ""
    return f"Expected a directory or a tar with {' and '.join(names)}{method}"


def explain_missing(
    listed: Mapping[str, Sequence[str]], missing: Sequence[str], given: bool
) -> str:
    """Says which reviews were expected, what there is and what to do.

    Args:
      listed: The names of the files in each place that was looked at, by its path.
      missing: As `expect` takes it.
      given: Whether the split method is `given`.
    """
    expected = expect(missing, given)
    where = " and ".join(list(listed)[:2])
    if len(listed) > 2:
        where += f" and {len(listed) - 2} more"
    held = list(dict.fromkeys(name for names in listed.values() for name in names))
    if not held:
        verb = "are" if len(listed) > 1 else "is"
        return f"{expected}; {where} {verb} empty. Put Yelp's JSON files there."
    shown = ", ".join(held[:_NUM_LISTED_NAMES])
    if len(held) > _NUM_LISTED_NAMES:
        shown += f" and {len(held) - _NUM_LISTED_NAMES} more"
    verb = "hold" if len(listed) > 1 else "holds"
    return f"{expected}; {where} {verb} {shown}. {_advise(listed, held, given)}"


def explain_unreachable(path: str, error: Exception) -> str:
    """Says why a filesystem can't be asked.

    Args:
      path: What it was asked for.
      error: What it raised.
    """
    package = _PACKAGES.get(path.partition("://")[0])
    install = f", that {package} is installed" if package else ""
    return (
        f"Expected a local path or one that Beam can reach; {path} is not "
        f"({type(error).__name__}: {error}). Check the path, its access rights{install} and the "
        "Beam options of its filesystem."
    )


def _advise(listed: Mapping[str, Sequence[str]], held: Sequence[str], given: bool) -> str:
    """Says what to do about reviews that are missing."""
    contents = [file_names.classify(posixpath.basename(name), chosen=True) for name in held]
    has_splits = [bool(c.split) for c in contents if c and c.table == tables.INTERACTIONS]
    if not given and any(has_splits):
        return "Set split.method to given to use the review files of each split."
    if given and not all(has_splits):
        return "Set split.method to temporal, random or leave_last to split the one review file."
    for path, names in listed.items():
        for name in names:
            if name.endswith(ARCHIVE_SUFFIXES) and name != posixpath.basename(path):
                return f"Pass {storage.join(path, name)} itself."
            if name.endswith(".zip"):
                return f"Unzip {name}, and pass the tar or the directory that comes out."
    return "Put the file there under that name, or pass the directory that holds it."
