from pipeline import config, graph

INPUTS = graph.Inputs("data", "serving", users_fingerprint="of users", code_digest="of code")


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
        "code_digest": "of code",
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
