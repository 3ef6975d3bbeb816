import json

import pytest
from google.protobuf import json_format, struct_pb2

from components.run_notice import executor

STATUS = {"state": "FAILED", "error": {"message": "out of memory"}}


@pytest.mark.parametrize(
    "wrap", [json.dumps, lambda s: json_format.ParseDict(s, struct_pb2.Struct())]
)
def test_writes_how_the_run_ended_over_the_run_before(tmp_path, wrap):
    folder = tmp_path / "serving"
    for status in ({"state": "SUCCEEDED"}, STATUS):
        executor.Executor().Do({}, {}, {"final_status": wrap(status), "serving_dir": str(folder)})
        assert json.loads((folder / "last_run.json").read_text()) == status
    assert [path.name for path in folder.iterdir()] == ["last_run.json"]
