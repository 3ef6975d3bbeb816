"""Speed and endurance of the server, against the same model called in its process."""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks import serving_fuzz, serving_guards, serving_load, serving_model
from serving.server_process import ServerProcess

_CLIENTS = 64
_NUM_SWAPS = 10
_PARTS = ("rates", "batching", "swaps", "overload", "soak", "fuzz")


def main(arguments: list[str] | None = None) -> None:
    """Prints what the arguments ask for.

    Args:
      arguments: Command line; see `--help`.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks serving", description=__doc__)
    parser.add_argument("--only", choices=_PARTS, action="append", help="one of the parts")
    parser.add_argument("--businesses", type=int, default=serving_model.NUM_BUSINESSES)
    parser.add_argument("--users", type=int, default=serving_model.NUM_USERS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--soak-seconds", type=float, default=120.0, help="600 at most")
    parser.add_argument("--inputs", type=int, default=60_000, help="of the fuzzing")
    parser.add_argument("--root", help="keeps the exports there, to use them again")
    options = parser.parse_args(arguments or [])
    if missing := serving_load.missing("wrk", "h2load", "taskset"):
        print(f"left out: {missing}", flush=True)
        return
    with contextlib.ExitStack() as stack:
        options.root = options.root or stack.enter_context(tempfile.TemporaryDirectory())
        for approximate in (False, True):
            if not os.path.exists(_model(options, approximate)):
                serving_model.write(options.root, options.users, options.businesses, approximate)
        print(f"{options.users:,} users, {options.businesses:,} businesses")
        for part in options.only or _PARTS:
            print(f"-- {part}", flush=True)
            _RUNS[part](options)


def _model(options: argparse.Namespace, approximate: bool) -> str:
    return os.path.join(options.root, "t2rec_scann" if approximate else "t2rec")


@contextlib.contextmanager
def _server(*arguments: str):
    """Starts a server that has the last core to itself; load comes from the first."""
    with contextlib.ExitStack() as stack:
        server = ServerProcess([*arguments, "--grpc-port", "0"], start_seconds=300)
        with _on_core(max):  # Which the server inherits.
            stack.enter_context(server)
        yield server


@contextlib.contextmanager
def _on_core(choose: Callable[[set[int]], int]):
    """Keeps this process, and what it starts, on one of the cores that it may use."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {choose(everywhere)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def _rates(options: argparse.Namespace) -> None:
    """Compares REST and gRPC with batches of 64 in the process."""
    for approximate in (False, True):
        path = _model(options, approximate)
        name = os.path.basename(path)
        ratios: dict[str, list[float]] = {"rest": [], "grpc": []}
        for _ in range(options.turns):
            in_process = _cpu_us_in_process(path, options.users)
            with _server("--model", path) as server:
                rest = serving_load.load_rest(
                    server, name, options.users, _CLIENTS, options.seconds
                )
                calls = max(500, rest.answered // 4)
                grpc = serving_load.load_grpc(server, name, _CLIENTS, calls)
            for transport, load in (("rest", rest), ("grpc", grpc)):
                ratios[transport].append(in_process / load.server_cpu_us)
                _print_row(
                    f"{name} {transport}",
                    f"{in_process:.0f} us in process",
                    f"{load.server_cpu_us:.0f} us CPU",
                    f"{load.per_second:.0f} /s",
                    f"p50 {load.p50_ms:.1f} ms",
                    f"p99 {load.p99_ms:.1f} ms",
                    f"refused {load.refused}",
                )
        for transport, values in ratios.items():
            print(f"  {name} {transport}: {statistics.median(values):.2f} x the rate in process")


def _cpu_us_in_process(path: str, num_users: int) -> float:
    """Returns the CPU time a row of calls with 64 rows, on the core that the server gets."""
    from benchmarks import processes

    report = os.path.join(os.path.dirname(path), "in_process.txt")
    processes.run("benchmarks.serving_programs", path, str(num_users), report)
    return float(pathlib.Path(report).read_text())


def _batching(options: argparse.Namespace) -> None:
    """Compares the server with itself without batches."""
    path = _model(options, approximate=True)
    name = os.path.basename(path)
    arguments = ("--model", path, "--max-batch-rows")
    with _server(*arguments, "64") as batching, _server(*arguments, "1") as single:
        for clients in (1, _CLIENTS):
            cpu, wall = [], []
            for _ in range(options.turns):
                with_batches, without = (
                    serving_load.load_rest(server, name, options.users, clients, options.seconds)
                    for server in (batching, single)
                )
                cpu.append(without.server_cpu_us / with_batches.server_cpu_us)
                wall.append(with_batches.per_second / without.per_second)
            print(
                f"  {clients} clients: with batches {statistics.median(wall):.2f} x the rate, "
                f"{statistics.median(cpu):.2f} x by CPU",
                flush=True,
            )


def _swaps(options: argparse.Namespace) -> None:
    """Swaps versions under half of the load that the server can carry."""
    with tempfile.TemporaryDirectory(dir=options.root) as folder:
        base = pathlib.Path(folder, "t2rec_scann")
        _add_version(_model(options, approximate=True), base, 1)
        with _server("--model", str(base), "--poll-seconds", "0.5") as server:
            path = "/v1/models/t2rec_scann:predict"
            with serving_load.logged_load(server, path, 4, 5) as answers:
                pass
            rate = len(answers) / 5 / 2
            with concurrent.futures.ThreadPoolExecutor(1) as pool, _on_core(min):
                swapping = pool.submit(_swap_all, server, _model(options, approximate=True), base)
                answers = serving_load.open_load(server, path, rate, 10 + _NUM_SWAPS * 12)
                swaps, memory = swapping.result()
        before, during = serving_guards.split_by_swaps(answers, swaps)
        limit = serving_guards.MAX_SWAP_SLOWDOWN
        problems = serving_guards.judge_swaps(answers, swaps, limit)
        # After two the allocator knows what it needs.
        problems += serving_guards.judge_memory(memory[1], memory[-1])
        print(
            f"  {len(swaps)} swaps in {sum(e - b for b, e in swaps):.0f} s, {len(answers)} "
            f"requests, {rate:.0f} a second, {sum(a.status != 200 for a in answers)} failed; p99 "
            f"{serving_guards.p99(before):.1f} ms before, {serving_guards.p99(during):.1f} ms "
            f"during; memory {memory[1]:.0f} MB after the second, {memory[-1]:.0f} MB at the end"
        )
        _print_problems(problems)


def _swap_all(
    server: ServerProcess, source: str, base: pathlib.Path
) -> tuple[list[tuple[float, float]], list[float]]:
    """Swaps versions one after the other; returns when each began and ended, and memory then."""
    swaps, memory = [], []
    time.sleep(5)
    for number in range(2, 2 + _NUM_SWAPS):
        begin = time.time()
        _add_version(source, base, number)
        _wait_for_version(server, number)
        swaps.append((begin, time.time()))
        memory.append(serving_load.resident_mb(server))
        time.sleep(1)
    return swaps, memory


def _add_version(source: str, base: pathlib.Path, number: int) -> None:
    base.mkdir(exist_ok=True)
    incoming = base / "incoming"
    shutil.copytree(os.path.join(source, "1"), incoming, copy_function=os.link)
    incoming.rename(base / str(number))


def _wait_for_version(server: ServerProcess, number: int, seconds: float = 120.0) -> None:
    """Waits until a version is the only one that isn't at its end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = serving_load.get_json(server, "/v1/models/t2rec_scann")["model_version_status"]
        if [s["version"] for s in answer if s["state"] != "END"] == [str(number)]:
            return
        time.sleep(0.1)
    raise SystemExit(f"Version {number} is not there after {seconds:.0f} s")


def _overload(options: argparse.Namespace) -> None:
    """Offers three times of what the server can carry."""
    path = _model(options, approximate=False)
    url = "/v1/models/t2rec:predict"
    shares = []
    # One batch runs while another one waits: more would only wait longer.
    with _server("--model", path, "--max-pending-requests", str(2 * _CLIENTS)) as server:
        for turn in range(options.turns):
            with serving_load.logged_load(server, url, _CLIENTS, options.seconds) as answers:
                pass
            # What takes much longer than at the peak has come too late.
            limit_ms = 3 * statistics.median(answer.ms for answer in answers)
            peak = serving_guards.goodput(answers, options.seconds, limit_ms)
            with _on_core(min):
                answers = serving_load.open_load(server, url, 3 * peak, options.seconds, turn)
            good = serving_guards.goodput(answers, options.seconds, limit_ms)
            shares.append(good / peak)
            refused = [answer.ms for answer in answers if answer.status == 503]
            print(
                f"  peak {peak:.0f} /s; offered {len(answers) / options.seconds:.0f} /s: "
                f"{good:.0f} /s within {limit_ms:.0f} ms ({shares[-1]:.0%}), "
                f"{len(refused) / options.seconds:.0f} /s refused within "
                f"{statistics.median(refused) if refused else 0:.1f} ms",
                flush=True,
            )
            problems = serving_guards.judge_overload(peak, answers, options.seconds, limit_ms)
            _print_problems(problems)
    print(f"  goodput {statistics.median(shares):.0%} of the peak")


def _soak(options: argparse.Namespace) -> None:
    """Watches memory under load for some minutes."""
    path = _model(options, approximate=True)
    seconds = min(600.0, options.soak_seconds)
    with _server("--model", path) as server:
        serving_load.load_rest(server, "t2rec_scann", options.users, _CLIENTS, seconds / 5)
        before = serving_load.resident_mb(server)
        load = serving_load.load_rest(
            server, "t2rec_scann", options.users, _CLIENTS, seconds * 4 / 5
        )
        after = serving_load.resident_mb(server)
    print(
        f"  {load.answered:,} requests in {load.seconds:.0f} s after a fifth of the time: "
        f"{before:.0f} MB, then {after:.0f} MB; {load.refused} refused"
    )
    _print_problems(serving_guards.judge_memory(before, after))


def _fuzz(options: argparse.Namespace) -> None:
    """Sends what nobody should send."""
    path = _model(options, approximate=True)
    half = options.inputs // 2
    with ServerProcess(["--model", path]) as server:
        for name, fuzz, address in (
            ("REST", serving_fuzz.fuzz_rest, server.rest_address),
            ("gRPC", serving_fuzz.fuzz_grpc, server.grpc_address),
        ):
            memory = []
            for seed in (1, 2):  # After the first half all has been used.
                finding = fuzz(address, "t2rec_scann", half // 2, seed)
                memory.append(serving_load.resident_mb(server))
                alive = server.process.poll() is None
                print(f"  {name}: {finding.sent:,} inputs, {finding.answers}", flush=True)
                _print_problems(serving_guards.judge_fuzzing(finding, half // 2, alive))
            print(f"  memory {memory[0]:.0f} MB, then {memory[1]:.0f} MB")
            _print_problems(serving_guards.judge_memory(*memory))
        if "Traceback" in server.log():
            _print_problems(["the log has a traceback"])


def _print_problems(problems: list[str]) -> None:
    for problem in problems or ["nothing is wrong"]:
        print(f"  {problem}", flush=True)


def _print_row(name: str, *cells: str) -> None:
    print(f"  {name:<20}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


_RUNS = {
    "rates": _rates,
    "batching": _batching,
    "swaps": _swaps,
    "overload": _overload,
    "soak": _soak,
    "fuzz": _fuzz,
}

if __name__ == "__main__":
    main(sys.argv[1:])
