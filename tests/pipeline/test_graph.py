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
