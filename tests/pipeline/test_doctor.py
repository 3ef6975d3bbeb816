"""What a machine lacks is found, and said together with what to do."""

import importlib.metadata
import os
import socket

import pytest

from pipeline import cli, commands, doctor
from pipeline.doctor import State


@pytest.fixture
def command(tmp_path):
    """Writes a program that prints a text on standard error."""

    def write(text):
        path = tmp_path / "java"
        path.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def cpuinfo(tmp_path):
    def write(flags):
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
        return str(path)

    return write


@pytest.fixture
def findings(monkeypatch):
    """Replaces what is looked at."""

    def replace(*found):
        monkeypatch.setattr(doctor, "examine", lambda folder: iter(found))

    return replace


@pytest.mark.slow
def test_this_machine_has_what_is_needed(tmp_path, capsys):
    assert cli.main(["doctor", "--root", str(tmp_path / "new")]) == commands.DONE
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert "MISSING" not in said and lines[-1].startswith("t2rec works here")
    for name in ("system", "Python", "packages", "memory", "TensorFlow, ScaNN", "TFX, Beam"):
        assert any(line.startswith(f"ok       {name} ") for line in lines), name
    assert not (tmp_path / "new").exists()


def test_what_is_missing_fails_the_command(findings, capsys):
    findings(
        doctor.Finding("Python", State.OK, "3.10.13"),
        doctor.Finding("memory", State.MISSING, "1.0 GB free; expected 3", "End other programs."),
    )
    assert cli.main(["doctor"]) == commands.FAILED
    assert capsys.readouterr().out.splitlines() == [
        "ok       Python             3.10.13",
        "MISSING  memory             1.0 GB free; expected 3",
        "                            End other programs.",
        "",
        "t2rec may not work here before what is missing is there: 1 of these",
    ]


def test_limits_do_not_fail_the_command(findings, capsys):
    findings(doctor.Finding("Java", State.LIMITED, "none", "Install it."))
    assert cli.main(["doctor"]) == commands.DONE
    assert "t2rec works here, within the limits above" in capsys.readouterr().out


@pytest.mark.parametrize(
    "system, processor, state",
    [
        ("Linux", "x86_64", State.OK),
        ("Linux", "aarch64", State.MISSING),
        ("Darwin", "x86_64", State.MISSING),
    ],
)
def test_system(system, processor, state):
    found = doctor.check_system(system, processor)
    assert found.state is state
    assert found.text.startswith(f"{system} on {processor}")


def test_instructions(cpuinfo, tmp_path):
    assert doctor.check_instructions(cpuinfo("fpu avx2 sse avx fma")).state is State.OK
    found = doctor.check_instructions(cpuinfo("fpu avx sse4_2"))
    assert found.state is State.MISSING
    assert found.text == "expected avx, avx2, fma; avx2, fma missing"
    assert doctor.check_instructions(str(tmp_path / "none")).state is State.LIMITED


def test_python():
    assert doctor.check_python("3.10.1").state is State.OK
    found = doctor.check_python("3.11.4")
    assert found.state is State.MISSING
    assert found.text == "3.11.4; expected <3.11,>=3.10"


def test_packages_that_are_missing_or_of_another_version():
    numpy = importlib.metadata.version("numpy")
    found = doctor.check_packages(["no-such-package>=1", "numpy<1", "pandas"])
    assert found.state is State.MISSING
    assert found.text == f"no-such-package is not installed; expected numpy<1, {numpy} is installed"
    assert "make environment" in found.remedy


def test_packages_of_extras_count():
    def version_of(name):
        if name == "kfp":
            raise importlib.metadata.PackageNotFoundError(name)
        return importlib.metadata.version(name)

    assert doctor.check_packages(version_of=version_of).text == "kfp is not installed"


@pytest.mark.parametrize(
    "free, state, text",
    [
        (20e9, State.OK, "20.0 GB free"),
        (4e9, State.LIMITED, "4.0 GB free; Yelp's whole data set needs 8"),
        (1e9, State.MISSING, "1.0 GB free; expected 3"),
    ],
)
def test_memory(free, state, text):
    found = doctor.check_memory(free)
    assert (found.state, found.text) == (state, text)
    assert bool(found.remedy) == (state is not State.OK)


@pytest.mark.parametrize(
    "free, state", [(20e9, State.OK), (4e9, State.LIMITED), (1e8, State.MISSING)]
)
def test_disk(free, state, tmp_path):
    found = doctor.check_disk("disk", str(tmp_path / "a" / "b"), "choose another one", free)
    assert found.state is state
    assert found.text.startswith(f"{free / 1e9:.1f} GB free for {tmp_path}/a/b")
    assert os.listdir(tmp_path) == []


def test_folder_that_cannot_be_written_to():
    found = doctor.check_disk("disk", "/proc/t2rec", "choose another --root")
    assert found.state is State.MISSING
    assert found.text.startswith("/proc can't be written to (")
    assert found.remedy == "Get the right to write there, or choose another --root."


def test_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor.check_port("gRPC", "127.0.0.1", port)
    assert found.state is State.LIMITED
    assert found.text == f"127.0.0.1:{port} is taken (Address already in use)"
    assert "t2rec serve --grpc-port PORT" in found.remedy
    assert doctor.check_port("REST", "127.0.0.1", port).state is State.OK


@pytest.mark.parametrize(
    "version, text",
    [
        ('openjdk version "17.0.2" 2022-01-18', "17.0.2"),
        ('openjdk version "21" 2023-09-19', "21; expected 11 or 17; only Flink and Spark"),
        ('java version "1.8.0_202"', "1.8.0_202; expected 11 or 17"),
        ("it is broken", "of an unknown version; expected 11 or 17"),
    ],
)
def test_java(command, version, text):
    found = doctor.check_java(command(version))
    assert found.text.startswith(text)
    if "expected" in text:
        assert found.state is State.LIMITED and "openjdk-17" in found.remedy


def test_no_java(tmp_path):
    found = doctor.check_java(str(tmp_path / "java"))
    assert (found.state, found.text) == (
        State.LIMITED,
        "none; only Flink and Spark on this machine need it",
    )


@pytest.mark.parametrize(
    "program, text, remedy",
    [
        ("import no_such_library", "ModuleNotFoundError: No module named", "make environment"),
        ("import os; os.kill(os.getpid(), 4)", "killed by SIGILL", "make environment"),
        ("raise OSError('libgomp.so.1: no such file')", "OSError: libgomp.so.1", "libgomp1"),
        ("raise SystemExit(3)", "exit code 3", "make environment"),
    ],
)
def test_libraries_that_do_not_load(program, text, remedy):
    found = doctor.check_program("libraries", program)
    assert found.state is State.MISSING
    assert found.text.startswith(text) and remedy in found.remedy
