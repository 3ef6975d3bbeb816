"""One question, every way to ask it: the same real ids and scores."""

import grpc
import numpy as np
import pytest

from models import export
from models.recommender import Recommender
from models.scann_index import Effort, ScannIndex, ScannSearch
from models.search import KINDS

_USERS = ["user-000", "user-003", "user-057", "user-120", "nobody"]
_K = 10
# The query embeddings of an export are rounded to 16 bits: a relative error of 2⁻¹¹.
_TOLERANCE = {"rtol": 2e-3, "atol": 1e-2}


@pytest.fixture(scope="module")
def root(exact_export, tmp_path_factory):
    """The trained model's two exports, as a run pushes them."""
    folder = tmp_path_factory.mktemp("parity")
    exported = export.load_refreshable(exact_export.path)
    export.save_refreshable(exported, str(folder / "serving" / "t2rec" / "1"))
    index = ScannIndex(exported.tables, num_leaves=6)
    (folder / "assets").mkdir()
    recommender = Recommender(
        exported.tables,
        exported.encoder,
        str(folder / "assets"),
        # All of it is searched: the partition is drawn anew at every build.
        lambda exact: ScannSearch(exact, index, dict.fromkeys(KINDS, Effort(6, 100))),
    )
    export.save(recommender, str(folder / "serving" / "t2rec_scann" / "1"))
    return folder


@pytest.fixture(scope="module")
def expected(trained, planted):
    """By user, (business id, score, stars) by the towers in memory, as training left them."""
    model = trained.model
    candidates = model.embed_candidates()
    rows = [int(user[-3:]) for user in _USERS if user != "nobody"]
    queries = np.concatenate([
        model.embed_queries(candidates, np.array(rows)),
        model.embed_new_query(),
    ])
    cut = model.retrieval_block_dim
    scores = queries[:, :cut] @ candidates[:, :cut].T
    stars = np.clip(queries[:, cut:] @ candidates[:, cut:].T, 1, 5)
    best = np.argsort(-scores, axis=1)[:, :_K]
    ids = [name.decode() for name in planted.businesses.ids]
    return [
        [(ids[place], scores[row, place], stars[row, place]) for place in best[row]]
        for row in range(len(_USERS))
    ]


@pytest.fixture(scope="module")
def server(root):
    from serving.server_process import ServerProcess

    models = [str(root / "serving" / name) for name in ("t2rec", "t2rec_scann")]
    with ServerProcess(["--model", models[0], "--model", models[1]]) as process:
        yield process


def _lists(recommendations):
    return [[(r.business_id, r.score, r.rating) for r in row] for row in recommendations]


def _by_local_client(root, name):
    from serving.client import LocalClient

    return _lists(LocalClient(str(root / "serving" / name)).recommend(_USERS, k=_K))


def _by_batch_scorer(root, name, folder):
    import pandas as pd

    from serving.batch_scoring import score_users
    from serving.questions import Filters

    users = folder / "users.txt"
    users.write_text("\n".join(_USERS))
    out = folder / name
    score_users(str(root / "serving" / name), str(users), str(out), Filters(k=_K))
    frame = pd.read_parquet(out).sort_values("rank")
    return [
        list(
            frame[frame["user_id"] == user][["business_id", "score", "rating"]].itertuples(
                index=False, name=None
            )
        )
        for user in _USERS
    ]


def _by_server(address, name):
    from serving.client import connect

    with connect(address, name) as client:
        return _lists(client.recommend(_USERS, k=_K))


@pytest.mark.parametrize("name", ["t2rec", "t2rec_scann"])
@pytest.mark.parametrize("way", ["in this process", "batch", "REST", "gRPC"])
def test_all_ways_lead_to_what_training_left(root, server, expected, tmp_path, name, way):
    if way == "in this process":
        found = _by_local_client(root, name)
    elif way == "batch":
        found = _by_batch_scorer(root, name, tmp_path)
    elif way == "REST":
        found = _by_server(server.rest_address, name)
    else:
        grpc.channel_ready_future(grpc.insecure_channel(server.grpc_address)).result(timeout=60)
        found = _by_server(f"grpc://{server.grpc_address}", name)
    for row, best in zip(found, expected, strict=True):
        # Businesses whose scores differ by less than the tolerance may change places.
        by_id = {place: values for place, *values in best}
        assert len({place for place, *_ in row} & set(by_id)) >= _K - 1
        for place, score, stars in row:
            if place in by_id:
                np.testing.assert_allclose([score, stars], by_id[place], **_TOLERANCE)
        np.testing.assert_allclose(
            [score for _, score, _ in row], [score for _, score, _ in best], **_TOLERANCE
        )
