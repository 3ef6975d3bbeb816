"""The command line `t2rec COMMAND`: its options, and errors as exit codes."""

import argparse
import gc
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from models.errors import ConfigError, InputError
from models.theory import experiments
from pipeline import commands, console, filter_options
from pipeline.commands import BAD_USAGE, FAILED, INTERRUPTED
from serving import server_options


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: Arguments after the program's name; those of the process by default.

    Returns:
      The exit code: 0 done (and blessed, of a run), 1 failed, 2 bad usage or config, 3 done but
      not blessed.
    """
    # Most objects are of libraries and graphs, and stay: to look for cycles among them after every
    # 700 new ones took a fifth of TFX's import.
    gc.set_threshold(50_000, 20, 20)
    # TensorFlow's C++ side reports its missing GPU libraries as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Of libraries, about their own future.
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown and not getattr(args, "takes_beam_options", False):
        takes_ids = hasattr(args, "user_ids")
        hint = " (an id that begins with - goes behind --, after all options)" if takes_ids else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    args.beam_options = unknown
    try:
        return args.command(args)
    except ConfigError as error:
        console.note(f"t2rec: {_one_line(error)}")
        return BAD_USAGE
    except InputError as error:
        console.note(f"t2rec: {_one_line(error)}")
        return FAILED
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        if str(error).startswith("KeyboardInterrupt"):  # As Beam tells of one.
            return _interrupted()
        if type(error).__name__ in ("PermissionError", "PermissionDeniedError"):
            console.note(
                "t2rec: Expected to be allowed to read what was given and to write results; got: "
                f"{_one_line(error)}. Choose another folder, or change its permissions."
            )
            return FAILED
        logging.getLogger().exception("The command failed.")
        if os.environ.get("T2REC_TRACEBACK"):
            raise
        console.note(
            f"t2rec: {type(error).__name__}: {_one_line(error)} (this is a defect of t2rec or of "
            "its environment; T2REC_TRACEBACK=1 shows where)"
        )
        return FAILED


def _interrupted() -> int:
    console.note("t2rec: interrupted; run the same command again to go on where it stopped")
    return INTERRUPTED


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


class _CommandParser(argparse.ArgumentParser):
    """Takes whole names only: options of Beam pass through, and half of one may look like ours."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="t2rec",
        description="Two-tower recommendations from the Yelp Open Dataset: pipeline, server, "
        "batch scoring.",
    )
    subparsers = parser.add_subparsers(
        title="commands",
        required=True,
        metavar="COMMAND",
        parser_class=_CommandParser,
    )

    run = subparsers.add_parser("run", help="run the whole pipeline on this machine")
    run.add_argument(
        "--data", metavar="PATH", action="append",
        help="Yelp's tar, or a directory, file or pattern of its JSON files, also with {SPAN}; "
        "again for newer data; generated if left out",
    )  # fmt: skip
    run.add_argument("--root", metavar="DIR", required=True, help="where results go")
    run.add_argument(
        "--fast", action="store_true",
        help="a look within minutes: few trials, few baselines; --config and --set win over it",
    )  # fmt: skip
    _add_config(run)
    run.set_defaults(command=commands.run)
    _add_beam(run)

    synth = subparsers.add_parser("synth", help="write Yelp-shaped data with a planted truth")
    synth.add_argument("--out", metavar="DIR", required=True)
    synth.add_argument("--reviews", metavar="N", type=int, required=True)
    synth.add_argument("--seed", metavar="S", type=int, default=0)
    synth.set_defaults(command=commands.synth)

    compile_ = subparsers.add_parser("compile", help="write the Kubeflow pipeline spec")
    compile_.add_argument("--image", required=True, help="container image with t2rec installed")
    compile_.add_argument("--out", metavar="FILE", required=True)
    _add_config(compile_)
    compile_.set_defaults(command=commands.compile_)
    _add_beam(compile_)

    submit = subparsers.add_parser("submit", help="run a compiled spec on Kubeflow, and watch it")
    submit.add_argument("--endpoint", metavar="URL", required=True, help="of Kubeflow Pipelines")
    submit.add_argument("--spec", metavar="FILE", required=True, help="what `t2rec compile` wrote")
    submit.add_argument("--data", metavar="PATH", action="append", required=True)
    submit.add_argument(
        "--data-version", metavar="TEXT", default="",
        help="changes when the data does; without it nothing is taken from the cache",
    )  # fmt: skip
    submit.add_argument(
        "--serving-dir", metavar="DIR", required=True, help="where blessed exports are pushed to"
    )
    submit.add_argument(
        "--checkpoint-dir", metavar="DIR", default="", help="where a killed training goes on from"
    )
    submit.add_argument("--root", metavar="URL", default="", help="bucket, instead of the spec's")
    submit.add_argument("--name", default="t2rec", help="of the pipeline in Kubeflow")
    submit.add_argument("--experiment", default="t2rec", help="that runs are grouped under")
    submit.add_argument("--namespace", default="", help="of a Kubeflow with several users")
    submit.add_argument("--poll-seconds", metavar="S", type=float, default=5.0)
    submit.add_argument("--no-watch", action="store_true", help="do not wait for the end")
    submit.set_defaults(command=commands.submit)

    worker = subparsers.add_parser(
        "worker", help="train as one worker of a cluster: training.distribute: multi_worker"
    )
    worker.add_argument(
        "--checkpoint-dir", metavar="DIR", required=True,
        help="of the chief: ROOT/checkpoints, or what was given to submit",
    )  # fmt: skip
    worker.set_defaults(command=commands.worker)

    serve = subparsers.add_parser("serve", help="answer TensorFlow Serving's protocols")
    server_options.add_arguments(serve)
    serve.set_defaults(command=commands.serve)

    report = subparsers.add_parser("report", help="build the page of a run, or of two")
    what = report.add_mutually_exclusive_group(required=True)
    what.add_argument("--root", metavar="DIR", help="root of a run")
    what.add_argument("--compare", metavar="ROOT", nargs=2, help="two roots, side by side")
    report.add_argument(
        "--out", metavar="FILE", default="comparison.html", help="page of --compare"
    )
    report.add_argument("--open", action="store_true", help="show it in a browser")
    report.set_defaults(command=commands.report)

    query = subparsers.add_parser("query", help="recommend businesses to users")
    query.add_argument(
        "user_ids", metavar="USER_ID", nargs="*",
        help="any user if left out; behind -- if one begins with -",
    )  # fmt: skip
    source = query.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="DIR", help="an export, or the root of a run")
    source.add_argument(
        "--server", metavar="HOST:PORT", help="also http://, https://, grpc:// and grpcs://"
    )
    query.add_argument("--model-name", metavar="NAME", default="t2rec", help="on the server")
    query.add_argument("--timeout-seconds", metavar="S", type=float, default=60.0)
    query.add_argument(
        "--tls-authority", metavar="FILE", default="", help="PEM, for https:// and grpcs://"
    )
    filter_options.add_arguments(query)
    query.set_defaults(command=commands.query)

    refresh = subparsers.add_parser(
        "refresh", help="push a version with other businesses or users, without training"
    )
    refresh.add_argument("--model", metavar="DIR", required=True, help="root of a run")
    refresh.add_argument(
        "--businesses", metavar="FILE", default="", help="all there shall be, as Yelp writes them"
    )
    refresh.add_argument("--users", metavar="FILE", default="", help="likewise")
    refresh.add_argument(
        "--target-recall", metavar="R", type=float, help="of the index; as a run's if left out"
    )
    refresh.add_argument(
        "--max-reject-fraction", metavar="F", type=float, help="of a file's lines; likewise"
    )
    refresh.add_argument(
        "--max-removed-fraction", metavar="F", type=float, default=0.5,
        help="of what the model knows",
    )  # fmt: skip
    refresh.set_defaults(command=commands.refresh)

    theory = subparsers.add_parser("theory", help="put the paper's claims to the test")
    theory.add_argument("experiment", nargs="?", choices=experiments.NAMES, help="all if left out")
    theory.add_argument("--profile", choices=experiments.PROFILES, default=experiments.QUICK)
    theory.add_argument(
        "--out", metavar="DIR", required=True, help="where results go; a killed run goes on there"
    )
    theory.add_argument(
        "--runs", metavar="ROOT", nargs="+", default=[],
        help="roots of finished runs on one data set: compare there, too",
    )  # fmt: skip
    theory.add_argument("--jobs", metavar="N", type=int, default=2, help="processes")
    theory.set_defaults(command=commands.theory)

    score = subparsers.add_parser("score", help="score many users or pairs on Beam, to Parquet")
    score.add_argument("--model", metavar="DIR", required=True)
    what = score.add_mutually_exclusive_group(required=True)
    what.add_argument("--users", metavar="FILE|all", help="recommend to each")
    what.add_argument("--pairs", metavar="FILE", help="predict the stars of each")
    filter_options.add_arguments(score)
    score.add_argument("--exclude-file", metavar="FILE", help="with more ids to leave out")
    score.add_argument(
        "--out", metavar="DIR", required=True, help="a killed job goes on there if started again"
    )
    score.set_defaults(command=commands.score)
    _add_beam(score)

    doctor = subparsers.add_parser("doctor", help="check what t2rec needs of this machine")
    doctor.add_argument(
        "--root", metavar="DIR", default=".", help="where results shall go; here if left out"
    )
    doctor.set_defaults(command=commands.doctor)
    return parser


def _add_beam(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beam", metavar="URL", dest="beam_server",
        help="flink://HOST:PORT or spark://HOST:PORT of a Beam job server; options of Beam, such "
        "as --runner=…, pass through",
    )  # fmt: skip
    parser.set_defaults(takes_beam_options=True)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="YAML; see pipeline/configs/default.yaml")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", dest="settings", action="extend", nargs="+", default=[],
        help="one setting, such as split.method=random",
    )  # fmt: skip


def program() -> int:
    """Runs the process's own command, as its last act."""
    code = main()
    # When Python ends, TensorFlow's functions outlive the modules that they need to be freed, and
    # would say so, a traceback each, below the verdict.
    sys.unraisablehook = lambda _: None
    return code


if __name__ == "__main__":
    sys.exit(program())
