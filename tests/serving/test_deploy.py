"""The deployment files, as far as they can be checked without a cluster."""

import importlib.metadata
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement

from serving import server_options

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "serving" / "deploy"


def _steps():
    """The instructions of the Dockerfile, continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def _documents(name):
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def _options(arguments):
    """Parses arguments as the server does; fails for those that it doesn't know."""
    import argparse

    parser = argparse.ArgumentParser()
    server_options.add_arguments(parser)
    return parser.parse_args(arguments)


def test_copied_files_are_enough_for_the_command(tiny_versions, tmp_path):
    """COPY as the Dockerfile does, into an empty folder, and start what it starts."""
    for kind, rest in _steps():
        if kind == "COPY":
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, tmp_path / target)
                else:
                    shutil.copy(ROOT / source, tmp_path / target)
    command = json.loads(dict(_steps())["ENTRYPOINT"])
    assert command[:3] == ["python", "-m", "serving"]
    # What the image would not have installed can't be imported.
    needed = _distributions(tmp_path / "requirements.txt") | {"t2rec"}
    owners = importlib.metadata.packages_distributions()
    missing = [
        name
        for name, distributions in owners.items()
        if not needed & {d.lower().replace("_", "-") for d in distributions}
    ]
    assert {"tfx", "apache_beam", "polars"} <= set(missing)
    program = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_module('serving', run_name='__main__')\n"
    )
    arguments = [*command[3:], "--port", "0", "--grpc-port", "0", "--model", str(tiny_versions)]
    arguments[arguments.index("0.0.0.0")] = "127.0.0.1"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serving", *arguments],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    log = []
    for line in process.stderr:
        log.append(line)
        if "Ready: REST" in line:
            break
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0, "".join(log)


def _distributions(path):
    """What installing a file of requirements brings, as far as it is installed here."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    wanted, found = [*lines, "setuptools"], set()
    while wanted:
        name = Requirement(wanted.pop()).name.lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        try:
            wanted += [
                line
                for line in importlib.metadata.requires(name) or []
                if "extra ==" not in line
                and (not (r := Requirement(line)).marker or r.marker.evaluate())
            ]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def test_requirements_are_pinned_by_the_lock():
    (run,) = [rest for kind, rest in _steps() if kind == "RUN" and "requirements" in rest]
    sed = shlex.split(run.split(" && ")[0])[:3]
    constraints = subprocess.run(
        [*sed], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert not re.search(r"^\S+\[", constraints, re.MULTILINE)
    pinned = set(re.findall(r"^([\w.-]+)==", constraints, re.MULTILINE))
    lines = (DEPLOY / "requirements.txt").read_text().splitlines()
    assert {line for line in lines if line and line[0] != "#"} <= pinned


def test_options_of_the_image_are_the_servers():
    steps = dict(_steps())
    arguments = json.loads(steps["ENTRYPOINT"])[3:] + json.loads(steps["CMD"])
    assert _options(arguments).host == "0.0.0.0"
    assert steps["EXPOSE"].split() == ["8500", "8501"]
    assert steps["USER"] != "root"


def test_compose_serves_each_export_by_its_server():
    services = _documents("compose.yaml")[0]["services"]
    ours, stock = services["t2rec"], services["tensorflow-serving"]
    assert _options(ours["command"]).models == ["/models/t2rec_scann"]
    assert (ROOT / "serving/deploy" / ours["build"]["context"]).resolve() == ROOT
    assert (ROOT / ours["build"]["dockerfile"]).exists()
    assert stock["environment"]["MODEL_NAME"] == "t2rec"
    assert stock["volumes"][0].endswith("/t2rec:/models/t2rec:ro")
    ports = [port.split(":")[0] for service in services.values() for port in service["ports"]]
    assert len(set(ports)) == 4


@pytest.mark.parametrize("document", _documents("kubernetes.yaml"), ids=lambda d: d["kind"])
def test_kubernetes_objects_fit_their_schemas(document):
    kubernetes_validate.validate(document, "1.29", strict=True)


def test_schemas_would_catch_a_mistake():
    """The check itself: a field that isn't there."""
    document = _documents("kubernetes.yaml")[0]
    document["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.29", strict=True)


def test_kubernetes_objects_belong_together():
    deployment, service, scaler, budget = _documents("kubernetes.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    options = _options(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": options.grpc_port, "http": options.port}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert grace > options.grace_seconds + pause


def test_kserve_serves_what_it_copies():
    (service,) = _documents("kserve.yaml")
    assert (service["apiVersion"], service["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    (container,) = service["spec"]["predictor"]["containers"]
    options = _options(container["args"])
    assert options.models == ["/mnt/models"]
    assert options.model_name == service["metadata"]["name"]
    assert options.port == container["ports"][0]["containerPort"]
    # As much at a time as in the other cluster.
    (other,) = _documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"]
    assert options.num_workers == _options(other["args"]).num_workers == 1
    assert all(setting in container["env"] for setting in other["env"])


def test_rules_and_dashboard_ask_for_metrics_that_there_are(exact_server):
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body = b'{"instances": ["user-01"]}'
    opener.open(f"http://{exact_server.rest_address}/v1/models/t2rec:predict", body, timeout=60)
    with opener.open(f"http://{exact_server.rest_address}/metrics", timeout=60) as response:
        text = response.read().decode()
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    there |= set(re.findall(r"^([a-z0-9_]+)[ {]", text, re.MULTILINE))
    rules = [rule for group in _documents("prometheus-rules.yaml")[0]["groups"]
             for rule in group["rules"]]  # fmt: skip
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    expressions = [rule["expr"] for rule in rules]
    expressions += [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    asked = {name for expr in expressions for name in re.findall(r"\b(?:t2rec|process)_\w+", expr)}
    assert len(asked) > 8
    assert asked <= there
    # The name of a job is up to whoever scrapes.
    assert not [expr for expr in expressions if re.search(r"\bjob\b", expr)]
    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} == rule.keys()
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)
