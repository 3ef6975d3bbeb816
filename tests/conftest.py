"""What all tests share: Keras 2, a quiet TensorFlow, and a fair division among workers."""

import os
import pathlib

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import models  # noqa: E402, F401  (chooses Keras 2 before TensorFlow is imported)

# What takes longest comes first, so that workers end at about the same time.
_LONGEST = ("e2e", "models", "serving")
_TESTS = pathlib.Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # Before pytest-xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps a folder's tests on one worker: they share exports that are slow to make."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(_TESTS).parts[0]
        return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)

    items.sort(key=place)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(str(item.path.parent)))
