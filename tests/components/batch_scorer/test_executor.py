import json

import numpy as np
import pandas as pd
import pytest
from tfx.types import standard_artifacts

from components import artifacts
from components.batch_scorer import executor
from models import export
from models.baselines.fallback import FallbackRecommender
from models.errors import InputError
from models.places import Places
from models.recommender_tables import RecommenderTables
from models.tables import Bag

NUM_USERS, NUM_BUSINESSES = 5, 8
OPTIONS = {"users": "all", "k": 2, "exclude_seen": 0, "approximate": 0}


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """Pushes version 7 of a model: user n, who has been at place n, likes it best and n + 1 then.

    It has only the signatures that are called, and so needs no query tower.
    """
    queries = np.eye(NUM_USERS + 1, NUM_BUSINESSES + 1)
    queries += 0.5 * np.eye(NUM_USERS + 1, NUM_BUSINESSES + 1, k=1)
    own = np.arange(NUM_USERS, dtype=np.int32)
    tables = RecommenderTables(
        user_ids=np.array([b"user-%d" % row for row in own], object),
        business_ids=np.array([b"place-%d" % row for row in range(NUM_BUSINESSES)], object),
        query_embeddings=queries.astype(np.float16),
        candidate_embeddings=np.eye(NUM_BUSINESSES + 1, dtype=np.float32),
        retrieval_weight=1.0,
        rating_weight=1.0,
        rating_dim=1,
        seen=Bag.from_pairs(own, own, NUM_USERS),
        mean_stars=3.5,
        mean_age_years=1.0,
        business_bias=np.zeros(NUM_BUSINESSES, np.float32),
        taste=np.zeros([NUM_BUSINESSES, 0], np.float32),
        history_weights=np.ones(NUM_BUSINESSES, np.float32),
        factor_ridge=np.zeros(0, np.float32),
        factor_weight=0.0,
        places=Places.unknown(NUM_BUSINESSES),
    )
    folder = tmp_path_factory.mktemp("serving")
    (folder / "assets").mkdir()
    model = FallbackRecommender(tables, str(folder / "assets"))
    export.save(model, str(folder / "t2rec" / "7"))
    return folder


@pytest.fixture
def channels(serving, tmp_path):
    """Makes Pusher's output, and a place for the recommendations."""
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 1)
    pushed.set_string_custom_property("pushed_destination", str(serving))
    pushed.set_string_custom_property("pushed_version", "7")
    written = artifacts.Recommendations()
    written.uri = str(tmp_path / "recommendations")
    return {"pushed_model": [pushed]}, {"recommendations": [written]}


def _lists(folder):
    table = pd.read_parquet(folder)
    return table.groupby("user_id", sort=False).business_id.agg(list).to_dict()


def test_scores_all_users_with_the_pushed_version(channels, tmp_path):
    executor.Executor().Do(*channels, OPTIONS)
    assert channels[1]["recommendations"][0].get_int_custom_property("scored") == 1
    assert _lists(tmp_path / "recommendations") == {
        f"user-{n}": [f"place-{n}", f"place-{n + 1}"] for n in range(NUM_USERS)
    }
    summary = json.loads((tmp_path / "recommendations" / "_summary.json").read_text())
    assert summary == {"users": 5, "rows": 10, "unknown": 0, "rejected": 0}


def test_scores_the_users_of_a_file_without_what_they_have_seen(channels, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("user_id\nuser-2\nsomebody\n")
    asked = {**OPTIONS, "users": str(users), "exclude_seen": 1, "k": 1}
    executor.Executor().Do(*channels, asked)
    # The last embedding is a newcomer's.
    expected = {"user-2": ["place-3"], "somebody": [f"place-{NUM_USERS}"]}
    assert _lists(tmp_path / "recommendations") == expected


def test_scores_nothing_if_nothing_was_pushed(channels, tmp_path):
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")
    pushed.set_int_custom_property("pushed", 0)
    executor.Executor().Do({"pushed_model": [pushed]}, channels[1], OPTIONS)
    assert channels[1]["recommendations"][0].get_int_custom_property("scored") == 0
    assert not (tmp_path / "recommendations").exists()


def test_the_index_is_asked_only_if_wanted(channels):
    # There is only an exact model.
    with pytest.raises(InputError, match="Expected an exported model at .*t2rec_scann/7"):
        executor.Executor().Do(*channels, {**OPTIONS, "approximate": 1})
