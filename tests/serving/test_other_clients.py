"""Clients that know nothing of this project: curl, and Node.js with the protos alone."""

import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from tensorflow_serving.apis import prediction_service_pb2

NODE_CLIENT = pathlib.Path(__file__).parent / "testdata" / "node_client"


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")
@pytest.mark.parametrize("options", [[], ["--http2"], ["--header", "Expect: 100-continue"]])
def test_curl(exact_server, exact_export, options):
    version = subprocess.run(["curl", "--version"], capture_output=True, check=True)
    if "--http2" in options and b"HTTP2" not in version.stdout:
        pytest.skip("this curl knows no HTTP/2")
    url = f"http://{exact_server.rest_address}/v1/models/t2rec:predict"
    body = '{"instances": [{"user_id": "user-04", "k": 3}]}'
    command = ["curl", "--silent", "--noproxy", "*", "--fail", *options, "--data", body, url]
    done = subprocess.run(command, capture_output=True, check=True)
    (found,) = json.loads(done.stdout)["predictions"]
    assert found["business_id"] == [e[0] for e in exact_export.recommend("user-04", k=3)]


def _write_descriptors(path):
    """Writes the official protos, and all that they import, as a descriptor set."""
    found = {}

    def add(file):
        if file.name not in found:
            for dependency in file.dependencies:
                add(dependency)
            found[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)

    add(prediction_service_pb2.DESCRIPTOR)
    descriptors = descriptor_pb2.FileDescriptorSet(file=found.values())
    path.write_bytes(descriptors.SerializeToString())


@pytest.mark.skipif(not shutil.which("npm"), reason="there is no Node.js here")
def test_node_client_made_of_the_protos(exact_server, exact_export, tmp_path):
    for name in ("package.json", "client.js"):
        shutil.copy(NODE_CLIENT / name, tmp_path)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"npm can't install gRPC for Node.js: {installed.stderr[-300:]}")
    _write_descriptors(tmp_path / "protos.bin")
    address = exact_server.grpc_address
    environment = {**os.environ, "no_grpc_proxy": "127.0.0.1"}

    def ask(model):
        command = ["node", "client.js", "protos.bin", address, model, "user-01", "4"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return json.loads(done.stdout)

    expected = exact_export.recommend("user-01", k=4)
    found = ask("t2rec")
    assert found["version"] == 3
    assert found["business_id"] == [e[0] for e in expected]
    np.testing.assert_allclose(found["score"], [e[1] for e in expected], rtol=1e-4)
    not_found = 5
    assert ask("other") == {
        "code": not_found,
        "details": "Servable not found for request: Latest(other)",
    }
