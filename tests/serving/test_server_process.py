"""A server as a process of its own."""

from serving.server_process import ServerProcess


def test_package_of_the_same_name_in_the_current_folder_is_not_run(tiny, tmp_path, monkeypatch):
    (tmp_path / "serving").mkdir()
    for name in ("__init__", "__main__"):
        (tmp_path / "serving" / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with ServerProcess(["--model", tiny.name]) as server:
        assert server.process.poll() is None
        assert server.rest_address
