"""A Python worker of Beam for engines that start workers as processes.

In Beam's containers a program in Go does this. It gets the addresses of the engine's services and
asks one of them for the pipeline's options; packages that were staged are not installed, as the
worker runs where t2rec is.
"""

import argparse
import os
import sys

from pipeline.beam_engines import PYTHON_VARIABLE, python_version


def main() -> None:
    """Runs a worker until the engine takes leave of it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--id", required=True)
    for name in ("provision", "logging", "artifact", "control"):
        parser.add_argument(f"--{name}_endpoint", default="")
    args, _ = parser.parse_known_args()
    wanted = os.environ.get(PYTHON_VARIABLE)
    if wanted and wanted != python_version():
        sys.exit(
            f"Expected Python {wanted}, which the pipeline was sent from; this worker has "
            f"{python_version()}. Put the same t2rec on all machines."
        )
    os.environ.update(_environment(args))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


def _environment(args: argparse.Namespace) -> dict[str, str]:
    """Asks the engine for what Beam's worker reads from its environment."""
    # Under the wrong Python these might not even load.
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
    from google.protobuf import json_format

    with grpc.insecure_channel(args.provision_endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        info = stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=(("worker_id", args.id),),
        ).info
    logging_url = info.logging_endpoint.url or args.logging_endpoint
    control_url = info.control_endpoint.url or args.control_endpoint
    return {
        "WORKER_ID": args.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(logging_url),
        "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(control_url),
    }


def _descriptor(url: str) -> str:
    from apache_beam.portability.api import endpoints_pb2
    from google.protobuf import text_format

    return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))


if __name__ == "__main__":
    main()
