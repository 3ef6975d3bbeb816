"""The command line: `t2rec COMMAND`. Nothing heavy is imported before a command needs it."""

import argparse
import collections
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence

from models.errors import ConfigError, InputError
from models.theory import experiments
from pipeline import console
from serving import server_options

DONE, FAILED, BAD_USAGE, NOT_BLESSED = 0, 1, 2, 3

_LOG = logging.getLogger("t2rec")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: Arguments after the program's name; those of the process by default.

    Returns:
      The exit code: 0 done (and blessed, of a run), 1 failed, 2 bad usage or config, 3 done but
      not blessed.
    """
    # TensorFlow's C++ side reports its missing GPU libraries as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Of libraries, about their own future.
    parser = build_parser()
    args, beam = parser.parse_known_args(argv)
    if beam and not getattr(args, "takes_beam_options", False):
        takes_ids = hasattr(args, "user_ids")
        hint = " (an id that begins with - goes behind --, after all options)" if takes_ids else ""
        parser.error(f"unrecognized arguments: {' '.join(beam)}{hint}")
    args.beam = beam
    try:
        return args.command(args)
    except ConfigError as error:
        console.note(f"t2rec: {_one_line(error)}")
        return BAD_USAGE
    except InputError as error:
        console.note(f"t2rec: {_one_line(error)}")
        return FAILED
    except KeyboardInterrupt:
        console.note("t2rec: interrupted; run the same command again to go on where it stopped")
        return 130
    except Exception as error:
        logging.getLogger().exception("The command failed.")
        if os.environ.get("T2REC_TRACEBACK"):
            raise
        console.note(
            f"t2rec: {type(error).__name__}: {_one_line(error)} (this is a defect of t2rec or of "
            "its environment; T2REC_TRACEBACK=1 shows where)"
        )
        return FAILED


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
    commands = parser.add_subparsers(
        title="commands",
        required=True,
        metavar="COMMAND",
        parser_class=_CommandParser,
    )

    run = commands.add_parser("run", help="run the whole pipeline on this machine")
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
    run.set_defaults(command=_run)
    _add_beam(run)

    synth = commands.add_parser("synth", help="write Yelp-shaped data with a planted truth")
    synth.add_argument("--out", metavar="DIR", required=True)
    synth.add_argument("--reviews", metavar="N", type=int, required=True)
    synth.add_argument("--seed", metavar="S", type=int, default=0)
    synth.set_defaults(command=_synth)

    compile_ = commands.add_parser("compile", help="write the Kubeflow pipeline spec")
    compile_.add_argument("--image", required=True, help="container image with t2rec installed")
    compile_.add_argument("--out", metavar="FILE", required=True)
    _add_config(compile_)
    compile_.set_defaults(command=_compile)
    _add_beam(compile_)

    submit = commands.add_parser("submit", help="run a compiled spec on Kubeflow, and watch it")
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
    submit.set_defaults(command=_submit)

    worker = commands.add_parser(
        "worker", help="train as one worker of a cluster: training.distribute: multi_worker"
    )
    worker.add_argument(
        "--checkpoint-dir", metavar="DIR", required=True,
        help="of the chief: ROOT/checkpoints, or what was given to submit",
    )  # fmt: skip
    worker.set_defaults(command=_worker)

    serve = commands.add_parser("serve", help="answer TensorFlow Serving's protocols")
    server_options.add_arguments(serve)
    serve.set_defaults(command=_serve)

    report = commands.add_parser("report", help="build the page of a run, or of two")
    what = report.add_mutually_exclusive_group(required=True)
    what.add_argument("--root", metavar="DIR", help="root of a run")
    what.add_argument("--compare", metavar="ROOT", nargs=2, help="two roots, side by side")
    report.add_argument(
        "--out", metavar="FILE", default="comparison.html", help="page of --compare"
    )
    report.add_argument("--open", action="store_true", help="show it in a browser")
    report.set_defaults(command=_report)

    query = commands.add_parser("query", help="recommend businesses to users")
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
    query.add_argument("--k", type=int, default=10, help="businesses a user")
    query.add_argument("--exclude-seen", action="store_true", help="leave out rated businesses")
    _add_filters(query)
    query.add_argument("--min-stars", metavar="STARS", type=float, default=0.0)
    query.add_argument("--retrieval-weight", metavar="W", type=float, help="of affinity")
    query.add_argument("--rating-weight", metavar="W", type=float, help="of predicted stars")
    query.add_argument(
        "--shortlist", metavar="N", type=int, default=0,
        help="rank the best N again, by predicted stars",
    )  # fmt: skip
    query.set_defaults(command=_query)

    refresh = commands.add_parser(
        "refresh", help="push a version with other businesses or users, without training"
    )
    refresh.add_argument("--model", metavar="DIR", required=True, help="root of a run")
    refresh.add_argument(
        "--businesses", metavar="FILE", default="", help="all there shall be, as Yelp writes them"
    )
    refresh.add_argument("--users", metavar="FILE", default="", help="likewise")
    refresh.add_argument(
        "--target-recall", metavar="R", type=float, default=0.99, help="of the index"
    )
    refresh.add_argument(
        "--max-reject-fraction", metavar="F", type=float, default=0.01, help="of a file's lines"
    )
    refresh.set_defaults(command=_refresh)

    theory = commands.add_parser("theory", help="put the paper's claims to the test")
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
    theory.set_defaults(command=_theory)

    score = commands.add_parser("score", help="score many users or pairs on Beam, to Parquet")
    score.add_argument("--model", metavar="DIR", required=True)
    what = score.add_mutually_exclusive_group(required=True)
    what.add_argument("--users", metavar="FILE|all", help="recommend to each")
    what.add_argument("--pairs", metavar="FILE", help="predict the stars of each")
    score.add_argument("-k", type=int, default=10, help="businesses a user")
    score.add_argument("--exclude-seen", action="store_true", help="leave out rated businesses")
    _add_filters(score)
    score.add_argument("--exclude-file", metavar="FILE", help="with more ids to leave out")
    score.add_argument(
        "--out", metavar="DIR", required=True, help="a killed job goes on there if started again"
    )
    score.set_defaults(command=_score)
    _add_beam(score)

    doctor = commands.add_parser("doctor", help="check what t2rec needs of this machine")
    doctor.add_argument(
        "--root", metavar="DIR", default=".", help="where results shall go; here if left out"
    )
    doctor.set_defaults(command=_doctor)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exclude", metavar="BUSINESS_ID", nargs="+", default=[])
    parser.add_argument("--category", default="")
    parser.add_argument("--city", default="")
    parser.add_argument("--open-at", metavar="WHEN", help="now, or a day and a time: 'Fri 21:00'")
    parser.add_argument(
        "--near", metavar=("LATITUDE", "LONGITUDE", "KM"), type=float, nargs=3,
        help="degrees, and how far from there at most",
    )  # fmt: skip


def _add_beam(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beam", metavar="URL", dest="engine",
        help="flink://HOST:PORT or spark://HOST:PORT of a Beam job server; options of Beam, such "
        "as --runner=…, pass through",
    )  # fmt: skip
    parser.set_defaults(takes_beam_options=True)


def _beam_args(args: argparse.Namespace, paths: Sequence[str] | None) -> list[str]:
    """Checks where Beam pipelines go, and returns the options that send them there.

    Args:
      args: Of the command.
      paths: What workers read and write; None if the engine is not asked from here.
    """
    from pipeline import beam_engines, beam_options

    if not args.engine:
        return beam_options.beam_args(args.beam)
    engine = beam_engines.Engine.from_url(args.engine)
    if paths is not None:
        engine.check_paths(paths)
        engine.check_reachable()
    return beam_options.beam_args([*engine.beam_args(), *args.beam])


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="YAML; see pipeline/configs/default.yaml")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", dest="settings", action="extend", nargs="+", default=[],
        help="one setting, such as split.method=random",
    )  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    from pipeline import config, progress

    settings = config.load_config(args.config, args.settings, fast=args.fast)
    from models import options

    if settings.training.distribute == options.MULTI_WORKER:
        from models import replicas

        replicas.check_chief()
    _make_root(args.root)
    progress.log_to_file(os.path.join(args.root, "logs", "run.log"))
    paths = args.data or [_generate(settings, os.path.join(args.root, "data"))]
    from apache_beam.io import filesystems
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.yelp_example_gen import inputs, places

    # Some filesystems can't be asked for the data without their options.
    beam = _beam_args(args, [*paths, args.root])
    filesystems.FileSystems.set_options(PipelineOptions(beam))
    data = places.pack_paths(paths)
    inputs.find_inputs(data, settings.split.method)  # Fails before the half minute of imports.
    console.note("loading TFX, about half a minute ...")
    from pipeline import local_runner

    root = local_runner.Root(os.path.abspath(args.root))
    report = local_runner.run(settings, data, root, beam)
    console.say("\n" + console.metrics_tables(report))
    if not report["blessing"]["blessed"]:
        console.say(
            f"\nNothing was pushed. Report: {args.root}/report/index.html\n"
            f"To ask the model all the same: t2rec query --model {local_runner.find_trained(root)}"
        )
        return NOT_BLESSED
    console.say(
        f"\nServing {args.root}/serving/t2rec/{report['pushed_version']}; report: "
        f"{args.root}/report/index.html\nNext: t2rec query --model {args.root} USER_ID"
    )
    return DONE


def _make_root(root: str) -> None:
    """Makes sure that results can be written before anything is computed.

    Raises:
      ConfigError: If the folder can't be made or written to.
    """
    probe = os.path.join(root, ".writable")
    try:
        os.makedirs(root, exist_ok=True)
        with open(probe, "w", encoding="utf-8"):
            pass
        os.remove(probe)
    except OSError as error:
        raise ConfigError(
            f"Expected a folder that can be written to as --root; got {root!r} "
            f"({error.strerror}). Choose another one."
        ) from error


def _generate(settings, out_dir: str) -> str:
    from pipeline import synth

    wanted = settings.synthetic
    console.note(f"no --data: generating {wanted.reviews:,} reviews in {out_dir}")
    if not synth.is_generated(out_dir, wanted.reviews, wanted.seed):
        synth.generate(out_dir, wanted.reviews, wanted.seed)
    return out_dir


def _synth(args: argparse.Namespace) -> int:
    from pipeline import synth

    def show(done: int, total: int) -> None:
        console.note(f"{done:,} of {total:,} reviews")

    truth = synth.generate(args.out, args.reviews, args.seed, on_progress=show)
    console.say(
        f"{truth['num_reviews']:,} reviews of {truth['num_users']:,} users and "
        f"{truth['num_businesses']:,} businesses in {args.out}; the truth itself has an RMSE of "
        f"{truth['noise_floor_rmse']:.4f} stars"
    )
    return DONE


def _report(args: argparse.Namespace) -> int:
    from pipeline import report_folder

    folders = [
        report_folder.ReportFolder(os.path.join(root, "report"))
        for root in args.compare or [args.root]
    ]
    if args.compare:
        report_folder.compare(folders[0], folders[1], args.compare, args.out)
    path = os.path.abspath(args.out if args.compare else folders[0].build())
    console.say(path)
    if args.open:
        import webbrowser

        webbrowser.open(f"file://{path}")
    return DONE


def _compile(args: argparse.Namespace) -> int:
    from pipeline import config

    settings = config.load_config(args.config, args.settings)
    from pipeline import kubeflow_runner

    kubeflow_runner.compile_spec(settings, args.image, args.out, _beam_args(args, None))
    console.say(
        f"wrote {args.out}\nNext: t2rec submit --endpoint URL --spec {args.out} --data PATH "
        "--serving-dir DIR"
    )
    return DONE


def _submit(args: argparse.Namespace) -> int:
    if args.poll_seconds <= 0:
        raise ConfigError(f"Expected --poll-seconds above 0; got {args.poll_seconds}.")
    from components.yelp_example_gen import places
    from pipeline import kubeflow_client

    run = kubeflow_client.submit(
        kubeflow_client.Submission(
            endpoint=args.endpoint,
            spec=args.spec,
            parameters={
                "data": places.pack_paths(args.data),
                "data_version": args.data_version or time.strftime("%Y-%m-%dT%H:%M:%S"),
                "serving_dir": args.serving_dir,
                "checkpoint_dir": args.checkpoint_dir,
            },
            name=args.name,
            experiment=args.experiment,
            root=args.root,
            namespace=args.namespace,
            poll_seconds=args.poll_seconds,
        )
    )
    console.say(f"started {run.url}")
    if not args.no_watch:
        run.watch()
        console.say("succeeded")
    return DONE


def _worker(args: argparse.Namespace) -> int:
    from components.trainer import cluster
    from pipeline import progress

    progress.show_details()
    cluster.follow(args.checkpoint_dir, console.note)
    return DONE


def _serve(args: argparse.Namespace) -> int:
    options = server_options.from_arguments(args)
    if options.log_format == "json":
        from serving import json_logs

        json_logs.log_as_json()
    else:
        from pipeline import progress

        progress.show_details()
    from serving import server

    server.serve(options)
    return DONE


def _query(args: argparse.Namespace) -> int:
    from pipeline import query

    query.show(args)
    return DONE


def _refresh(args: argparse.Namespace) -> int:
    if not args.businesses and not args.users:
        raise ConfigError("Expected --businesses, --users or both; got neither. Give a file.")
    from pipeline import progress

    progress.show_details()
    from pipeline import refresh

    done = refresh.refresh_export(
        args.model, args.businesses, args.users, args.target_recall, args.max_reject_fraction
    )
    console.say(", ".join(f"{count:,} {name}" for name, count in done.counts.items()))
    recall = f"recall@10 of the index {done.recall}"
    if done.version is None:
        console.say(f"{recall}, significantly below {args.target_recall}: nothing was pushed")
        return NOT_BLESSED
    console.say(f"{recall}; pushed version {done.version}")
    return DONE


def _theory(args: argparse.Namespace) -> int:
    if args.jobs < 1:
        raise ConfigError(f"Expected --jobs of at least 1; got {args.jobs}. Give 1 or more.")
    from models.theory import program
    from pipeline import progress

    progress.show_details()
    names = [args.experiment] if args.experiment else experiments.NAMES
    console.say(program.run_experiments(names, args.profile, args.out, args.jobs, args.runs))
    return DONE


def _score(args: argparse.Namespace) -> int:
    from apache_beam.options.pipeline_options import PipelineOptions

    from models import features
    from pipeline import progress, query
    from serving import batch_scoring, bulk_filters, row_sources

    progress.show_details()
    files = [args.pairs or args.users]
    paths = [path for path in files if path != batch_scoring.ALL_USERS]
    options = PipelineOptions(_beam_args(args, [args.model, args.out, *paths]))
    if args.users:
        excluded = list(args.exclude)
        if args.exclude_file:
            excluded += row_sources.read_column(args.exclude_file, features.BUSINESS_ID)
        filters = bulk_filters.Filters(
            category=args.category,
            city=args.city,
            open_at_minute=query.parse_time(args.open_at) if args.open_at else -1,
            near_degrees=tuple(args.near[:2]) if args.near else (0.0, 0.0),
            within_km=args.near[2] if args.near else 0.0,
            excluded=tuple(excluded),
        )
        counts = batch_scoring.score_users(
            args.model, args.users, args.k, args.exclude_seen, args.out, options, filters
        )
    else:
        counts = batch_scoring.score_pairs(args.model, args.pairs, args.out, options)
    console.say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    console.say(f"in {args.out}")
    return DONE


def _doctor(args: argparse.Namespace) -> int:
    from pipeline import doctor

    console.note("checking this machine, half a minute in all ...")
    states: collections.Counter = collections.Counter()
    for finding in doctor.examine(args.root):
        console.say(console.labelled(finding.state.value, finding.name, finding.text))
        if finding.remedy:
            console.say(console.labelled("", "", finding.remedy))
        states[finding.state] += 1
    if missing := states[doctor.State.MISSING]:
        console.say(
            f"\nt2rec may not work here before what is missing is there: {missing} of these"
        )
        return FAILED
    limits = ", within the limits above" if states[doctor.State.LIMITED] else ""
    console.say(f"\nt2rec works here{limits}. Next: t2rec run --root runs/demo")
    return DONE


def program() -> int:
    """Runs the process's own command, as its last act."""
    code = main()
    # When Python ends, TensorFlow's functions outlive the modules that they need to be freed, and
    # would say so, a traceback each, below the verdict.
    sys.unraisablehook = lambda _: None
    return code


if __name__ == "__main__":
    sys.exit(program())
