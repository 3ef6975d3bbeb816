"""Looks at what t2rec needs of a machine, and says what to do where that is missing."""

import dataclasses
import enum
import importlib.metadata
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures

from packaging.requirements import Requirement

from models import machine
from serving.server_options import ServerOptions

_GIGABYTE = 1e9
# Measured peaks: 2.4 GB of a run on 60,000 reviews, 6 of Trainer on 7 million.
_LEAST_BYTES, _AMPLE_BYTES = 3e9, 8e9
# Measured: a run writes as much as it reads, 3.0 GB of 3 million reviews; Yelp's files are 9 GB.
_LEAST_DISK, _AMPLE_DISK = 0.5e9, 10e9
# What the wheels of TensorFlow and of ScaNN were compiled for.
_INSTRUCTIONS = ("avx", "avx2", "fma")
_JAVA = ("11", "17")
_INSTALL = "`make environment` in a clone of t2rec installs what requirements.lock pins."

# Each runs in a process of its own: it may be killed, and takes its memory along.
_PROGRAMS = {
    "TensorFlow, ScaNN": """
import numpy, tensorflow_recommenders
from scann.scann_ops.py import scann_ops
candidates = numpy.eye(8, dtype="float32")
index = scann_ops.builder(candidates, 1, "dot_product").score_brute_force().build()
nearest = index.search_batched(candidates)[0].numpy().ravel().tolist()
if nearest != list(range(8)):
    raise SystemExit(f"ScaNN found the wrong neighbours: {nearest}")
""",
    "TFX, Beam": "import tfx.v1, tensorflow_model_analysis, tfx_bsl.coders.example_coder",
    "baselines": "import lightgbm, surprise, implicit",
}


class State(enum.Enum):
    """How much a finding matters: `MISSING` means that t2rec does not work without it."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "MISSING"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found of one thing that is needed.

    Attributes:
      name: Of the thing.
      state: Whether it is there.
      text: What was found, and what was expected if that is another thing.
      remedy: What to do; "" if nothing.
    """

    name: str
    state: State
    text: str
    remedy: str = ""


def examine(folder: str) -> Iterator[Finding]:
    """Looks at one thing after the other; the last ones take half a minute.

    Args:
      folder: Where results of runs shall go; it need not exist.
    """
    yield check_system()
    yield check_instructions()
    yield check_python()
    yield check_packages()
    yield check_memory()
    yield check_disk("disk of results", folder, "choose another --root")
    yield check_disk("temporary files", tempfile.gettempdir(), "set TMPDIR to another folder")
    options = ServerOptions()
    for name, port in (("REST", options.port), ("gRPC", options.grpc_port)):
        yield check_port(name, options.host, port)
    yield check_java()
    with futures.ThreadPoolExecutor(len(_PROGRAMS)) as pool:
        yield from pool.map(lambda item: check_program(*item), _PROGRAMS.items())


def check_system(system: str = "", processor: str = "") -> Finding:
    """Looks for Linux on x86-64, which ScaNN and TFX's libraries are built for.

    Args:
      system: As `platform.system` names it; this one by default.
      processor: As `platform.machine` names it.
    """
    system, processor = system or platform.system(), processor or platform.machine()
    text = f"{system} on {processor}, {machine.num_cores()} cores"
    if (system, processor) == ("Linux", "x86_64"):
        return Finding("system", State.OK, text)
    return Finding(
        "system", State.MISSING, f"{text}; expected Linux on x86_64",
        "Use such a machine or container: ScaNN and TFX's libraries are built for no other.",
    )  # fmt: skip


def check_instructions(path: str = "/proc/cpuinfo") -> Finding:
    """Looks for the instructions without which TensorFlow or ScaNN would be killed.

    Args:
      path: Where the kernel lists them.
    """
    name = "instructions"
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.split(":")[1] for line in file if line.startswith("flags")]
    except OSError as error:
        return Finding(name, State.LIMITED, f"unknown ({error.strerror}: {path})")
    missing = sorted(set(_INSTRUCTIONS) - set(" ".join(lines).split()))
    if not missing:
        return Finding(name, State.OK, ", ".join(_INSTRUCTIONS))
    return Finding(
        name, State.MISSING, f"expected {', '.join(_INSTRUCTIONS)}; {', '.join(missing)} missing",
        "Use a processor of 2013 or later, or a virtual machine that passes these on.",
    )  # fmt: skip


def check_python(version: str = "") -> Finding:
    """Looks for the version of Python that the package asks for.

    Args:
      version: Such as 3.10.14; this one by default.
    """
    version = version or platform.python_version()
    requires = importlib.metadata.metadata("t2rec")["Requires-Python"]
    wanted = Requirement(f"python{requires}").specifier
    if wanted.contains(version, prereleases=True):
        return Finding("Python", State.OK, version)
    return Finding("Python", State.MISSING, f"{version}; expected {wanted}", _INSTALL)


def check_packages(
    requires: Sequence[str] | None = None, version_of: Callable = importlib.metadata.version
) -> Finding:
    """Compares the installed packages with those that t2rec asks for.

    Args:
      requires: Such as `scann==1.3.2`; those of t2rec by default.
      version_of: Returns the version of a package, or raises `PackageNotFoundError`.
    """
    if requires is None:
        requires = _with_extras(importlib.metadata.requires("t2rec") or [])
    wrong = []
    for requirement in map(Requirement, requires):
        try:
            version = version_of(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            expected = f"{requirement.name}{requirement.specifier}"
            wrong.append(f"expected {expected}, {version} is installed")
    if wrong:
        return Finding("packages", State.MISSING, "; ".join(wrong), _INSTALL)
    return Finding("packages", State.OK, f"all {len(requires)} that t2rec asks for")


def _with_extras(requires: Sequence[str]) -> list[str]:
    """Adds what packages require only as the extras that are asked for, such as `tfx[kfp]`."""
    found = list(requires)
    for requirement in map(Requirement, requires):
        for extra in requirement.extras:
            try:
                of_package = importlib.metadata.requires(requirement.name) or []
            except importlib.metadata.PackageNotFoundError:
                break  # Which is said of the package itself.
            found += [
                text
                for text in of_package
                if (marker := Requirement(text).marker)
                and marker.evaluate({"extra": extra})
                and not marker.evaluate({"extra": ""})
            ]
    return found


def check_memory(free: float | None = None) -> Finding:
    """Compares free memory with what runs took.

    Args:
      free: In bytes; what the system says by default.
    """
    free = machine.available_bytes() if free is None else free
    text = f"{free / _GIGABYTE:,.1f} GB free"
    if free >= _AMPLE_BYTES:
        return Finding("memory", State.OK, text)
    if free >= _LEAST_BYTES:
        return Finding(
            "memory", State.LIMITED,
            f"{text}; Yelp's whole data set needs {_AMPLE_BYTES / _GIGABYTE:.0f}",
            "Give the container more, end other programs, or use a part of the data.",
        )  # fmt: skip
    return Finding(
        "memory", State.MISSING, f"{text}; expected {_LEAST_BYTES / _GIGABYTE:.0f}",
        "Give the container more, or end other programs: the run may be killed.",
    )  # fmt: skip


def check_disk(name: str, folder: str, other: str, free: float | None = None) -> Finding:
    """Checks that a folder can be written to, and compares its space with what runs write.

    Args:
      name: What it is for.
      folder: It need not exist.
      other: How to take another one.
      free: In bytes; what the system says by default.
    """
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(
            name, State.MISSING, f"{existing} can't be written to ({error.strerror})",
            f"Get the right to write there, or {other}.",
        )  # fmt: skip
    free = shutil.disk_usage(existing).free if free is None else free
    text = f"{free / _GIGABYTE:,.1f} GB free for {os.path.abspath(folder)}"
    if free >= _AMPLE_DISK:
        return Finding(name, State.OK, text)
    state = State.LIMITED if free >= _LEAST_DISK else State.MISSING
    text += f"; Yelp's whole data set may need {_AMPLE_DISK / _GIGABYTE:.0f}"
    return Finding(name, state, text, f"Make room, or {other}.")


def check_port(name: str, host: str, port: int) -> Finding:
    """Checks that `t2rec serve` could listen.

    Args:
      name: Of the protocol.
      host: Address to listen on.
      port: Its port.
    """
    option = "--port" if name == "REST" else "--grpc-port"
    name = f"port of {name}"
    with socket.socket() as listener:
        # As servers do: connections that ended a moment ago don't matter.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            return Finding(
                name, State.LIMITED, f"{host}:{port} is taken ({error.strerror})",
                f"A server may run already; another one needs `t2rec serve {option} PORT`.",
            )  # fmt: skip
    return Finding(name, State.OK, f"{host}:{port} is free")


def check_java(command: str = "java") -> Finding:
    """Looks for the Java that Flink and Spark need on this machine.

    Args:
      command: What starts it.
    """
    only = "only Flink and Spark on this machine need it"
    remedy = "Install openjdk-17-jre-headless and, to fetch their jars, maven."
    try:
        done = subprocess.run(
            [command, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding("Java", State.LIMITED, f"none; {only}", remedy)
    version = re.search(r'version "([^"]+)', done.stderr)
    found = version.group(1) if version else "of an unknown version"
    if found.split(".")[0] not in _JAVA:
        wanted = " or ".join(_JAVA)
        return Finding("Java", State.LIMITED, f"{found}; expected {wanted}; {only}", remedy)
    if not shutil.which("mvn"):
        return Finding("Java", State.LIMITED, f"{found}, but no Maven; {only}", remedy)
    return Finding("Java", State.OK, f"{found}, and Maven")


def check_program(name: str, program: str) -> Finding:
    """Runs a program, as only that shows whether libraries of machine code fit together.

    Args:
      name: Of what it imports.
      program: In Python.
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode == 0:
        return Finding(name, State.OK, "work")
    if done.returncode < 0:
        text = f"killed by {signal.Signals(-done.returncode).name}"
    else:
        text = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    remedy = _INSTALL
    if "libgomp" in text:
        remedy = "Install the system's package libgomp1."
    return Finding(name, State.MISSING, text, remedy)
