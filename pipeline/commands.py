"""What the commands of `t2rec` do; nothing heavy is imported before a command needs it.

Each takes the arguments that `pipeline.cli` parsed and returns an exit code.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import shlex
import time
from collections.abc import Sequence

from models.errors import ConfigError
from models.theory import experiments
from pipeline import console, filter_options
from pipeline.root import Root, root_of
from serving import server_options
from serving.questions import Filters

DONE, FAILED, BAD_USAGE, NOT_BLESSED, INTERRUPTED = 0, 1, 2, 3, 130


def run(args: argparse.Namespace) -> int:
    """Runs the whole pipeline on this machine."""
    # TensorFlow's own allocator would keep for good what the components needed at their peaks.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    from pipeline import config, progress, report_folder

    settings = config.load_config(args.config, args.settings, fast=args.fast)
    from models import options

    if settings.training.distribute == options.MULTI_WORKER:
        from models import replicas

        replicas.check_chief()
    root = Root(args.root)
    root.make()
    with root.alone():
        progress.log_to_file(root.log)
        paths = args.data or [_generate(settings, root.data)]
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

        report = local_runner.run(settings, data, root.absolute(), beam)
    console.say("\n" + console.metrics_tables(report))
    page = report_folder.ReportFolder(root.report).page
    if not report["blessing"]["blessed"]:
        model = shlex.quote(local_runner.find_trained(root.absolute()))
        console.say(
            f"\nNothing was pushed. Report: {page}\n"
            f"To ask the model all the same: t2rec query --model {model}"
        )
        return NOT_BLESSED
    console.say(
        f"\nServing {root.serving}/t2rec/{report['pushed_version']}; report: {page}\n"
        f"Next: t2rec query --model {shlex.quote(args.root)} USER_ID"
    )
    return DONE


def _generate(settings, out_dir: str) -> str:
    from pipeline import synth

    wanted = settings.synthetic
    console.note(f"no --data: generating {wanted.reviews:,} reviews in {out_dir}")
    if not synth.is_generated(out_dir, wanted.reviews, wanted.seed):
        synth.generate(out_dir, wanted.reviews, wanted.seed)
    return out_dir


def synth(args: argparse.Namespace) -> int:
    """Writes Yelp-shaped data."""
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


def report(args: argparse.Namespace) -> int:
    """Builds the page of a run, or of two."""
    from pipeline import report_folder

    folders = [
        report_folder.ReportFolder(Root(root).report) for root in args.compare or [args.root]
    ]
    if args.compare:
        report_folder.compare(folders[0], folders[1], args.compare, args.out)
    path = os.path.abspath(args.out if args.compare else folders[0].build())
    console.say(path)
    if args.open:
        import webbrowser

        webbrowser.open(f"file://{path}")
    return DONE


def compile_(args: argparse.Namespace) -> int:
    """Writes the Kubeflow pipeline spec."""
    from pipeline import config

    settings = config.load_config(args.config, args.settings)
    from pipeline import kubeflow_runner

    kubeflow_runner.compile_spec(settings, args.image, args.out, _beam_args(args, None))
    console.say(
        f"wrote {args.out}\nNext: t2rec submit --endpoint URL --spec {args.out} --data PATH "
        "--serving-dir DIR"
    )
    return DONE


def submit(args: argparse.Namespace) -> int:
    """Runs a compiled spec on Kubeflow."""
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


def worker(args: argparse.Namespace) -> int:
    """Trains as one worker of a cluster."""
    from components.trainer import cluster
    from pipeline import progress

    progress.show_details()
    cluster.follow(args.checkpoint_dir, console.note)
    return DONE


def serve(args: argparse.Namespace) -> int:
    """Answers TensorFlow Serving's protocols."""
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


def query(args: argparse.Namespace) -> int:
    """Recommends businesses to users."""
    from pipeline import query

    query.show(args)
    return DONE


def refresh(args: argparse.Namespace) -> int:
    """Pushes a version with other businesses or users."""
    if not args.businesses and not args.users:
        raise ConfigError("Expected --businesses, --users or both; got neither. Give a file.")
    from pipeline import config, progress

    progress.show_details()
    from pipeline import refresh

    defaults = config.PipelineConfig()
    target_recall, max_reject_fraction = args.target_recall, args.max_reject_fraction
    if target_recall is None:
        target_recall = defaults.index.target_recall
    if max_reject_fraction is None:
        max_reject_fraction = defaults.max_reject_fraction
    root = root_of(args.model)
    with root.alone() if root else contextlib.nullcontext():
        done = refresh.refresh_export(
            args.model,
            args.businesses,
            args.users,
            target_recall,
            max_reject_fraction,
            args.max_removed_fraction,
        )
    console.say(", ".join(f"{count:,} {name}" for name, count in done.counts.items()))
    recall = f"recall@10 of the index {done.recall}"
    if done.version is None:
        console.say(f"{recall}, significantly below {target_recall}: nothing was pushed")
        return NOT_BLESSED
    console.say(f"{recall}; pushed version {done.version}")
    return DONE


def theory(args: argparse.Namespace) -> int:
    """Puts the paper's claims to the test."""
    if args.jobs < 1:
        raise ConfigError(f"Expected --jobs of at least 1; got {args.jobs}. Give 1 or more.")
    from models.theory import program
    from pipeline import progress

    progress.show_details()
    names = [args.experiment] if args.experiment else experiments.NAMES
    console.say(program.run_experiments(names, args.profile, args.out, args.jobs, args.runs))
    return DONE


def score(args: argparse.Namespace) -> int:
    """Scores users or pairs on Beam."""
    from apache_beam.options.pipeline_options import PipelineOptions

    from models import features
    from pipeline import progress
    from serving import batch_scoring, row_sources

    filters = _filters_of_a_job(args)
    progress.show_details()
    files = [args.pairs or args.users]
    paths = [path for path in files if path != batch_scoring.ALL_USERS]
    options = PipelineOptions(_beam_args(args, [args.model, args.out, *paths]))
    if args.pairs:
        counts = batch_scoring.score_pairs(args.model, args.pairs, args.out, options)
    else:
        if args.exclude_file:
            more = row_sources.read_column(args.exclude_file, features.BUSINESS_ID)
            excluded = [*filters.exclude_business_ids, *more]
            filters = dataclasses.replace(filters, exclude_business_ids=excluded)
        counts = batch_scoring.score_users(args.model, args.users, args.out, filters, options)
    console.say(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    console.say(f"in {args.out}")
    if not counts["rows"]:
        console.note(
            "nothing was found: the input is empty, or nothing passes the filters, whose labels "
            "are meant as the data spell them"
        )
    elif counts["unknown"] == counts["users" if args.users else "pairs"]:
        console.note("the model knows none of them: is this the right file?")
    return DONE


def _filters_of_a_job(args: argparse.Namespace) -> Filters:
    """Reads the filters of a batch job.

    Raises:
      ConfigError: If one can't be read, or there are some of lists for pairs.
    """
    given = filter_options.list_given(args) + ["--exclude-file"] * bool(args.exclude_file)
    if args.pairs and given:
        raise ConfigError(
            f"Expected no options of lists with --pairs, each of which is rated; got "
            f"{', '.join(given)}. Leave them out, or give --users."
        )
    return filter_options.from_arguments(args)


def doctor(args: argparse.Namespace) -> int:
    """Checks what t2rec needs of this machine."""
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


def _beam_args(args: argparse.Namespace, paths: Sequence[str] | None) -> list[str]:
    """Checks where Beam pipelines go, and returns the options that send them there.

    Args:
      args: Of the command.
      paths: What workers read and write; None if the engine is not asked from here.
    """
    from pipeline import beam_engines, beam_options

    if not args.beam_server:
        return beam_options.beam_args(args.beam_options)
    engine = beam_engines.Engine.from_url(args.beam_server)
    if paths is not None:
        engine.check_paths(paths)
        engine.check_reachable()
    return beam_options.beam_args([*engine.beam_args(), *args.beam_options])
