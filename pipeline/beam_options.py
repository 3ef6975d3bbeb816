"""Checks the Beam options of a run.

Without any, Beam's DirectRunner works in this process, which is best for small data: a worker
process costs seconds of imports.
"""

import argparse
from collections.abc import Sequence

from models.errors import ConfigError

# Names no image that is used: it tells TFX that workers have our code already, lest it pack itself.
NOT_PACKED = "--sdk_container_image=t2rec"
# Options by which workers are told what to install, or have it.
_PACKED = ("extra_packages", "setup_file", "requirements_file", "sdk_container_image")
# What Google's service does not start without.
_DATAFLOW = ("project", "region", "temp_location", "sdk_container_image")


def beam_args(given: Sequence[str]) -> list[str]:
    """Checks options that are passed through to Beam.

    Args:
      given: Options from the command line, such as `--runner=FlinkRunner`.

    Returns:
      The same, for Beam's `PipelineOptions`; on this machine with `NOT_PACKED`, as otherwise TFX
      would leave 43 MB in the folder of temporary files for every component.

    Raises:
      ConfigError: If Beam knows no such option, or an option lacks another one.
    """
    from apache_beam.options import pipeline_options

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for group in pipeline_options.PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)
    try:
        known, unknown = parser.parse_known_args(list(given))
    except argparse.ArgumentError as error:
        raise ConfigError(f"Expected options of Apache Beam; got a wrong one: {error}.") from error
    if unknown:
        raise ConfigError(
            f"Expected options of t2rec or of Apache Beam; got {' '.join(unknown)}. See "
            "`t2rec COMMAND --help` for the former."
        )
    runner = (known.runner or "").removeprefix("apache_beam.runners.").lower()
    _check_together(runner, known)
    packed = any(getattr(known, name, None) for name in _PACKED)
    if given and runner in ("", "direct", "directrunner") and not packed:
        return [*given, NOT_PACKED]
    return list(given)


def _check_together(runner: str, known: argparse.Namespace) -> None:
    if runner in ("dataflow", "dataflowrunner"):
        missing = [f"--{name}" for name in _DATAFLOW if not getattr(known, name, None)]
        if missing:
            raise ConfigError(
                f"Expected {', '.join(missing)} with --runner=DataflowRunner; got none. The image "
                "is that of `make image`, which holds what workers import."
            )
        if not known.temp_location.startswith("gs://"):
            raise ConfigError(
                f"Expected --temp_location=gs://… for Dataflow; got {known.temp_location!r}."
            )
    if runner in ("portable", "portablerunner") and not known.job_endpoint:
        raise ConfigError(
            "Expected --job_endpoint=HOST:PORT with --runner=PortableRunner; got none. For Flink "
            "and Spark, --beam flink://HOST:PORT sets what is needed."
        )
