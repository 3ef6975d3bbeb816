"""The REST API of Kubeflow Pipelines (v2beta1), as far as its Python client calls it.

It keeps what it is sent, refuses what the API server refuses, and plays runs to their end.
"""

import email.parser
import email.policy
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

API = "/apis/v2beta1"


class KfpServer:
    """An API server on a port of its own; a context manager.

    Attributes:
      pipelines: By id: name and versions, by id: name and spec.
      runs: By id: what was asked for, and the states that it will show, one a poll.
      token: What a client must send; "" for nothing.
      play: States of the run, one a poll, each with those of its tasks.
    """

    def __init__(self, play: list[tuple[str, dict[str, str]]] = (), token: str = ""):
        self.pipelines: dict[str, dict] = {}
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict] = {}
        self.play = list(play) or [("SUCCEEDED", {"Trainer": "SUCCEEDED"})]
        self.token = token
        self.failures: dict[str, int] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "KfpServer":
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_version(self, pipeline_id: str, name: str, spec: dict) -> dict:
        versions = self.pipelines[pipeline_id]["versions"]
        version_id = f"{pipeline_id}-v{len(versions)}"
        versions[version_id] = {"name": name, "spec": spec}
        return self.version(pipeline_id, version_id)

    def version(self, pipeline_id: str, version_id: str) -> dict:
        return {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": version_id,
            "display_name": self.pipelines[pipeline_id]["versions"][version_id]["name"],
        }


class _Refused(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def _handler(server: KfpServer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parsed = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(parsed.query))
            status, told = 200, {}
            try:
                if server.token and self.headers["Authorization"] != f"Bearer {server.token}":
                    raise _Refused(401, "no valid token")
                route = f"{self.command} {parsed.path}"
                if server.failures.get(route, 0) > 0:
                    server.failures[route] -= 1
                    raise _Refused(503, "the database is away")
                told = self._serve(route, query, body)
            except _Refused as refused:
                status, told = refused.status, {"error": str(refused), "message": str(refused)}
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _serve(self, route: str, query: dict, body: bytes) -> dict:
            match route.replace(API, "", 1).split(" ", 1):
                case ["GET", "/healthz"]:
                    return {"multi_user": False}
                case ["GET", "/pipelines"]:
                    return {"pipelines": [
                        {"pipeline_id": key, "display_name": found["name"]}
                        for key, found in server.pipelines.items()
                        if found["name"] == _wanted(query)
                        and found["namespace"] == query.get("namespace", "")
                    ]}  # fmt: skip
                case ["POST", "/pipelines/upload"]:
                    spec = _spec(self.headers, body)
                    names = {"name": query["name"], "namespace": query.get("namespace", "")}
                    if any(names.items() <= known.items() for known in server.pipelines.values()):
                        raise _Refused(409, f"the pipeline {names} exists")
                    pipeline_id = f"p{len(server.pipelines)}"
                    server.pipelines[pipeline_id] = {**names, "versions": {}}
                    server.add_version(pipeline_id, query["name"], spec)
                    return {"pipeline_id": pipeline_id, "display_name": query["name"]}
                case ["POST", "/pipelines/upload_version"]:
                    spec = _spec(self.headers, body)
                    return server.add_version(query["pipelineid"], query["name"], spec)
                case ["GET", "/experiments"]:
                    return {"experiments": [
                        {"experiment_id": key, "display_name": name}
                        for key, name in server.experiments.items()
                        if name == _wanted(query)
                    ]}  # fmt: skip
                case ["POST", "/experiments"]:
                    name = json.loads(body)["display_name"]
                    server.experiments[f"e{len(server.experiments)}"] = name
                    return {"experiment_id": f"e{len(server.experiments) - 1}"}
                case ["POST", "/runs"]:
                    return self._start(json.loads(body))
                case ["GET", path] if found := re.fullmatch(r"/pipelines/([^/]+)/versions", path):
                    pipeline_id = found[1]
                    versions = server.pipelines[pipeline_id]["versions"]
                    return {"pipeline_versions": [
                        server.version(pipeline_id, key)
                        for key, version in versions.items()
                        if version["name"] == _wanted(query)
                    ]}  # fmt: skip
                case ["GET", path] if found := re.fullmatch(r"/runs/([^/]+)", path):
                    return self._poll(found[1])
            raise _Refused(404, f"nothing at {route}")

        def _start(self, asked: dict) -> dict:
            reference = asked["pipeline_version_reference"]
            versions = server.pipelines[reference["pipeline_id"]]["versions"]
            spec = versions[reference["pipeline_version_id"]]["spec"]
            given = asked["runtime_config"]["parameters"]
            for name, parameter in spec["root"]["inputDefinitions"]["parameters"].items():
                if name not in given and not parameter.get("isOptional"):
                    raise _Refused(400, f"parameter {name} is not optional")
            run_id = f"r{len(server.runs)}"
            server.runs[run_id] = {"asked": asked, "left": list(server.play)}
            return {"run_id": run_id, "state": "PENDING"}

        def _poll(self, run_id: str) -> dict:
            left = server.runs[run_id]["left"]
            state, tasks = left.pop(0) if len(left) > 1 else left[0]
            details = [
                {"display_name": name, "state": task.split(":")[0]}
                | ({"error": {"code": 13, "message": task.split(":")[1]}} if ":" in task else {})
                for name, task in tasks.items()
            ]
            return {"run_id": run_id, "state": state, "run_details": {"task_details": details}}

    return Handler


def _wanted(query: dict) -> str:
    (predicate,) = json.loads(query["filter"])["predicates"]
    return predicate.get("stringValue") or predicate["string_value"]


def _spec(headers, body: bytes) -> dict:
    """Reads an uploaded file, and refuses it as the API server does."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.default).parsebytes(head + body)
    (part,) = message.iter_parts()
    spec = yaml.load(part.get_content(), yaml.CSafeLoader)
    if spec.get("schemaVersion") != "2.1.0":
        raise _Refused(400, f"schema version {spec.get('schemaVersion')} is not supported")
    return spec
