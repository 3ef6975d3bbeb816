import logging
import subprocess
import sys

from absl import logging as absl_logging

from pipeline import progress


def test_follows_the_local_runner(capsys):
    absl_logging.set_verbosity(absl_logging.WARNING)
    with progress.ComponentProgress(2) as shown:
        absl_logging.info("Component %s is running.", "YelpExampleGen")
        absl_logging.info("A cached execution %d is used.", 3)
        absl_logging.info("Component %s is finished.", "YelpExampleGen")
        absl_logging.info("Component %s is running.", "Trainer")
        absl_logging.info("Component %s is finished.", "Trainer")
    assert list(shown.timings) == ["YelpExampleGen", "Trainer"]
    assert shown.cached == ["YelpExampleGen"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[ 1/2] YelpExampleGen ..."
    assert lines[1] == "[ 1/2] YelpExampleGen: unchanged, taken from an earlier run"
    assert lines[3].startswith("[ 2/2] Trainer: ")
    # What it changed is as before, and it listens no more.
    assert absl_logging.get_verbosity() == absl_logging.WARNING
    assert shown not in logging.getLogger("absl").handlers


def test_details_are_shown_once(capsys):
    progress.show_details()
    progress.show_details()
    logging.getLogger("t2rec").info("step %d", 5)
    assert capsys.readouterr().err.splitlines() == ["        step 5"]


def test_libraries_that_set_up_logging_do_not_say_it_again():
    program = (
        "import logging\n"
        "from pipeline import progress\n"
        "progress.show_details()\n"
        "logging.warning('of a library')\n"  # Sets up logging if nobody has.
        "logging.getLogger('t2rec').info('step 5')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.splitlines() == ["of a library", "        step 5"]


def test_the_peak_of_each_component_is_its_own(capsys):
    with progress.ComponentProgress(2) as shown:
        for name, num_bytes in (("Trainer", 300_000_000), ("Pusher", 0)):
            absl_logging.info("Component %s is running.", name)
            held = b"x" * num_bytes
            absl_logging.info("Component %s is finished.", name)
            del held
    assert shown.memory_mb["Trainer"] > shown.memory_mb["Pusher"] + 250
