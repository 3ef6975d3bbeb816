import subprocess
import sys

import pytest

from models.errors import ConfigError
from pipeline.root import Root, root_of


@pytest.mark.parametrize("below", ["", "serving", "serving/t2rec", "serving/t2rec/1796053751"])
def test_an_export_lies_in_the_root_of_its_run(below, tmp_path):
    root = Root(str(tmp_path / "root"))
    (tmp_path / "root" / below).mkdir(parents=True)
    assert root_of(str(tmp_path / "root" / below)) is None  # Nobody has run anything there.
    (tmp_path / "root" / "metadata.sqlite").touch()
    assert root_of(str(tmp_path / "root" / below)) == root
    (tmp_path / "copy" / "t2rec" / "7").mkdir(parents=True)
    assert root_of(str(tmp_path / "copy" / "t2rec" / "7")) is None


@pytest.mark.parametrize("path", ["gs://bucket/root", "runs/*", "runs/a[1]"])
def test_a_root_is_a_folder_of_this_machine(path):
    with pytest.raises(ConfigError, match="Expected a folder of this machine as --root"):
        Root(path).make()


@pytest.mark.parametrize("module", ["pipeline.root", "pipeline.cli", "pipeline.query"])
def test_what_asks_where_things_lie_imports_no_tfx(module):
    told = f"import sys, {module}; print([m for m in ('tfx', 'tensorflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
