"""What a server is told is checked before anything is opened or loaded."""

import argparse

import pytest

import serving.__main__
from models.errors import ConfigError
from pipeline import cli
from serving import server_options
from serving.server_options import ServerOptions

_FILE = "--model-config-file=models.config"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-workers=-1"], "Expected --num-workers from 0 to 1000; got -1. Correct it."),
        (["--max-batch-rows=-3"], "Expected --max-batch-rows from 1 to .*; got -3"),
        (["--max-pending-requests=0"], "Expected --max-pending-requests from 1 to .*; got 0"),
        (["--request-log=p", "--request-log-rate=7"], "--request-log-rate from 0 to 1; got 7"),
        (["--poll-seconds=-1"], "Expected --poll-seconds from 0 to"),
        (["--timeout-seconds=nan"], "Expected --timeout-seconds from 0.001 to .*; got nan"),
        (["--port=65536"], "Expected --port from 0 to 65535; got 65536"),
        (["--grpc-port=-2"], "Expected --grpc-port from -1 to"),
        (["--tls-key=k"], "Expected --tls-certificate with --tls-key; got none"),
        (["--tls-client-authority=a"], "--tls-certificate with --tls-client-authority; got none"),
        (["--request-log-rate=1"], "Expected --request-log with --request-log-rate; got none"),
        (["--model-config-poll-seconds=1"], "Expected --model-config-file with"),
        ([_FILE, "--model-name=m"], "no --model-name with --model-config-file; got 'm'. Say it in"),
        ([_FILE, "--request-log=p"], "no --request-log with --model-config-file; got 'p'"),
    ],
)
def test_options_that_would_mean_nothing_are_refused(arguments, message):
    parser = argparse.ArgumentParser()
    server_options.add_arguments(parser)
    what = [] if _FILE in arguments else ["--model=m"]
    with pytest.raises(ConfigError, match=message):
        server_options.from_arguments(parser.parse_args([*what, *arguments]))


def test_defaults_and_what_goes_together_are_accepted():
    ServerOptions()
    ServerOptions(models=["m"], poll_seconds=0, grpc_port=-1, grace_seconds=0)
    ServerOptions(model_config_file="f", model_config_poll_seconds=5, models=[])
    ServerOptions(tls_certificate="c", tls_key="k", request_log="p", request_log_rate=1.0)


def test_commands_end_as_after_bad_usage(monkeypatch, capsys):
    arguments = ["--model=m", "--num-workers=-1"]
    assert cli.main(["serve", *arguments]) == 2
    monkeypatch.setattr("sys.argv", ["serving", *arguments])
    with pytest.raises(SystemExit, match="2"):
        serving.__main__.main()
    assert capsys.readouterr().err.count("Expected --num-workers from 0 to 1000; got -1") == 2
