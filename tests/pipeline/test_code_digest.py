import pytest

from pipeline.code_digest import code_digest


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A package `planted` that no component knows, with a schema and a module within."""
    folder = tmp_path / "planted"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "module.py", "rows.pbtxt", "inner/__init__.py"):
        (folder / name).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


@pytest.mark.parametrize("edited", ["module.py", "rows.pbtxt", "card.md.j2", "inner/new.py"])
def test_changes_with_the_source_of_what_is_named(edited, planted):
    before, others = code_digest("planted"), code_digest()
    assert before == code_digest("planted")
    assert len(before) == 16
    (planted / edited).write_text("# edited")
    assert code_digest("planted") != before
    assert code_digest() == others


def test_a_module_is_named_without_its_neighbours(planted):
    before = code_digest("planted.module")
    (planted / "rows.pbtxt").write_text("# edited")
    assert code_digest("planted.module") == before
    (planted / "module.py").write_text("# edited")
    assert code_digest("planted.module") != before


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match="'components.gone'"):
        code_digest("components.gone")
