import pytest

from models.errors import InputError
from serving import model_folders


class TestFindVersion:
    def test_pipeline_root_model_folder_and_version_folder_lead_to_the_same(self, exact_export):
        version = f"{exact_export.path}/3"
        for path in (exact_export.root, exact_export.path, version, f"{version}/"):
            assert model_folders.find_version(path) == version

    def test_largest_complete_version_counts(self, tmp_path):
        for version in ("9", "10", "11", "12", "not-a-version"):
            (tmp_path / version / "variables").mkdir(parents=True)
        for version in ("9", "10", "11"):
            (tmp_path / version / "saved_model.pb").touch()
        for version in ("9", "10", "12"):
            (tmp_path / version / "variables" / "variables.index").touch()
        assert model_folders.find_version(str(tmp_path)) == str(tmp_path / "10")

    def test_nothing_there_says_what_to_do(self, tmp_path):
        with pytest.raises(InputError, match=r"Expected an exported model at .*got no such folder"):
            model_folders.find_version(str(tmp_path / "missing"))
        (tmp_path / "notes").mkdir()
        with pytest.raises(InputError, match=r"got a folder with \['notes'\]. Run `t2rec run`"):
            model_folders.find_version(str(tmp_path))
