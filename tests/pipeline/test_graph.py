import ast
import importlib.util
import pathlib

import pytest

from pipeline import code_digest, config, graph

INPUTS = graph.Inputs("data", "serving", users_fingerprint="of users")
EVERYTHING = ("batch_scoring.enabled=yes", "tuner.trials=9")


@pytest.fixture(autouse=True)
def _told(monkeypatch):
    """Puts the names of what would be digested in the place of digests."""
    monkeypatch.setattr(graph, "code_digest", lambda *names: " ".join(names))


def _nodes(*settings):
    loaded = config.load_config(None, list(settings))
    return {node.id: node for node in graph.build_components(loaded, INPUTS)}


def test_users_are_scored_after_the_push_if_wanted():
    assert "BatchScorer" not in _nodes()
    nodes = _nodes("batch_scoring.enabled=yes", "batch_scoring.users=u.csv", "batch_scoring.k=7")
    scorer = nodes["BatchScorer"]
    assert scorer.inputs["pushed_model"].producer_component_id == "Pusher"
    assert scorer.exec_properties == {
        "users": "u.csv",
        "k": 7,
        "exclude_seen": 1,
        "approximate": 0,
        "users_fingerprint": "of users",
        "code_digest": "components.batch_scorer components.pusher.versions serving",
    }


def test_what_a_tuner_finds_is_trained_with_if_it_is_wanted():
    nodes = _nodes()
    assert "Tuner" not in nodes
    assert "hyperparameters" not in nodes["Trainer"].inputs
    nodes = _nodes("tuner.trials=9", "temperature=0.2")
    assert list(nodes).index("Tuner") < list(nodes).index("Trainer")
    assert nodes["Trainer"].inputs["hyperparameters"].producer_component_id == "Tuner"
    tuner, trainer = nodes["Tuner"].exec_properties, nodes["Trainer"].exec_properties
    assert tuner["num_trials"] == 9
    for options in ("model_options", "training_options"):
        assert tuner[options] == trainer[options]


def _imports(module):
    """Lists the modules of components and of the server that a module imports, anywhere in it."""
    source = pathlib.Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{name.name}" for name in node.names]
            found = [name if _is_module(name) else node.module for name in inner]
        else:
            found = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in found if name.startswith(("components.", "serving")))


def _is_module(name):
    if not name.startswith(("components.", "serving.")):
        return False
    parent = importlib.util.find_spec(name.rpartition(".")[0])
    return bool(parent.submodule_search_locations and importlib.util.find_spec(name))


def _run_by(node):
    """Lists the modules that an executor runs, as far as imports tell."""
    found, left = set(), [node.executor_spec.executor_class.__module__]
    while left:
        if (module := left.pop()) not in found:
            found.add(module)
            left += _imports(module)
    return {name for name in found if name.startswith(("components.", "serving"))}


def test_the_cache_sees_all_code_that_a_component_runs():
    ours = [
        node
        for node in _nodes(*EVERYTHING).values()
        if node.executor_spec.executor_class.__module__.startswith("components.")
    ]
    assert len(ours) == 18
    for node in ours:
        seen = [*code_digest._COMMON, *node.exec_properties["code_digest"].split()]
        unseen = [
            module
            for module in _run_by(node)
            if not any(f"{module}.".startswith(f"{name}.") for name in seen)
        ]
        assert not unseen, node.id


def test_a_server_is_part_of_what_asks_it_and_a_page_of_nothing_that_trains():
    seen = {
        name: node.exec_properties["code_digest"].split()
        for name, node in _nodes(*EVERYTHING).items()
        if "code_digest" in node.exec_properties
    }
    asking = {name for name, names in seen.items() if "serving" in names}
    assert asking == {"CandidateIndexer", "Evaluator", "ServingValidator", "BatchScorer"}
    assert {name for name, names in seen.items() if "components.report" in names} == {"Report"}
