import pytest

from pipeline import cli
from serving import client
from serving.errors import ServingError


class Asked:
    """Stands for a server that recommends two places to everybody, and is asked for names."""

    def __init__(self):
        self.described = []

    def recommend(self, users, **filters):
        found = [client.Recommendation(place, 1.5, 4.0) for place in ("tea", "bar")]
        return [found[: 1 + (user == "ann")] for user in users]

    def describe(self, ids):
        self.described.append(ids)
        return [client.Place(one.title(), 0.0, 0.0) for one in ids]

    def predict(self, signature, inputs):
        return {"embedding": [[float(user == "ann")] for user in inputs["user_id"]]}


@pytest.fixture
def asked(monkeypatch):
    server = Asked()
    monkeypatch.setattr(client, "connect", lambda *args, **told: server)
    return server


def test_names_of_all_lists_are_asked_for_at_once(asked, capsys):
    assert cli.main(["query", "--server", "host:1", "ann", "bob"]) == 0
    assert asked.described == [["bar", "tea"]]
    told = capsys.readouterr().out.split("for user ")
    assert [line.split()[:3] for line in told[1].splitlines()[3:]] == [
        ["1", "tea", "Tea"],
        ["2", "bar", "Bar"],
    ]
    assert told[2].startswith("bob, a newcomer to the model\n")
    assert [line.split()[:3] for line in told[2].splitlines()[3:]] == [["1", "tea", "Tea"]]


def test_a_server_that_fails_is_not_taken_for_one_without_names(asked, monkeypatch, capsys):
    def fail(ids):
        raise ServingError("Expected an answer; got none.")

    monkeypatch.setattr(asked, "describe", fail)
    assert cli.main(["query", "--server", "host:1", "ann"]) == 1
    assert "Expected an answer; got none." in capsys.readouterr().err
