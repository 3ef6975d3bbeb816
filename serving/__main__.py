"""Serves models: `python -m serving --model DIR`, the same as `t2rec serve`."""

import argparse
import logging
import os
import sys
import warnings

from models.errors import ConfigError, InputError
from serving import server_options
from serving.json_logs import log_as_json


def main() -> int:
    """Serves until it is told to stop; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Of libraries, about their own future.
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    server_options.add_arguments(parser)
    try:
        options = server_options.from_arguments(parser.parse_args())
    except ConfigError as error:
        parser.error(str(error))  # Exits with 2.
    if options.log_format == "json":
        log_as_json()
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    from serving import server

    try:
        server.serve(options)
    except InputError as error:
        logging.getLogger("t2rec").error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
