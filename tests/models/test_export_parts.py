import pathlib

import pytest

from models.export_parts import read_parts


@pytest.fixture(scope="module")
def parts(exact_export):
    return {part.name: part for part in read_parts(exact_export.path)}


def test_the_parts_add_up_to_the_folder(parts, exact_export):
    files = [path for path in pathlib.Path(exact_export.path).rglob("*") if path.is_file()]
    on_disk = sum(path.stat().st_size for path in files)
    assert sum(part.num_bytes for part in parts.values()) == on_disk
    assert all(part.num_bytes >= 0 for part in parts.values())


def test_queries_are_kept_in_half_and_candidates_in_full_precision(parts, exact_export):
    tables = exact_export.tables
    for name, dtype, size in (
        ("query_embeddings", "float16", 2),
        ("candidate_embeddings", "float32", 4),
    ):
        shape = getattr(tables, name).shape
        assert (parts[name].dtype, parts[name].shape) == (dtype, shape)
        assert parts[name].num_bytes == shape[0] * shape[1] * size
    assert parts["seen_values"].num_bytes == 4 * len(tables.seen.values)
    assert parts["assets/user_ids.txt"].num_bytes == sum(len(i) + 1 for i in tables.user_ids)


def test_all_parts_are_described(parts):
    assert not [name for name, part in parts.items() if not part.holds]
    sizes = [part.num_bytes for part in parts.values()]
    assert sizes == sorted(sizes, reverse=True)
