import pydantic
import pytest

from models.options import ModelOptions, Objective, SplitOptions, TrainingOptions

_GROUPS = (SplitOptions, Objective, ModelOptions, TrainingOptions)


@pytest.mark.parametrize("group", _GROUPS)
def test_unknown_key_is_refused_by_name(group):
    with pytest.raises(pydantic.ValidationError, match="no_such_option"):
        group(no_such_option=1)


@pytest.mark.parametrize("group", _GROUPS)
def test_options_are_frozen(group):
    options = group()
    name = next(iter(group.model_fields))
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(options, name, getattr(options, name))


@pytest.mark.parametrize("group", _GROUPS)
def test_options_round_trip_through_json(group):
    options = group()
    assert group.model_validate_json(options.model_dump_json()) == options


def test_changed_options_round_trip_through_json():
    values = {"objective": {"retrieval": 0, "rating": 2}, "tower_widths": [8], "dropout": 0}
    options = ModelOptions.model_validate(values)
    again = ModelOptions.model_validate_json(options.model_dump_json())
    assert again == options
    assert again.tower_widths == (8,)
    assert again.objective == Objective(retrieval=0.0, rating=2.0)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        (SplitOptions, {"method": "newest"}),
        (SplitOptions, {"eval": 0.0}),
        (SplitOptions, {"test": 1.0}),
        (SplitOptions, {"seed": 1.5}),
        (Objective, {"rating": -1.0}),
        (Objective, {"retrieval": float("inf")}),
        (Objective, {"retrieval": float("nan")}),
        (ModelOptions, {"embedding_dim": 0}),
        (ModelOptions, {"rating_dim": -1}),
        (ModelOptions, {"tower_widths": [64, 0]}),
        (ModelOptions, {"temperature": 0.0}),
        (ModelOptions, {"temperature": float("inf")}),
        (ModelOptions, {"dropout": 1.0}),
        (ModelOptions, {"user_cold_dropout": -0.1}),
        (ModelOptions, {"id_dropout": "much"}),
        (ModelOptions, {"objective": {"ranking": 1.0}}),
        (TrainingOptions, {"num_folds": 1}),
        (TrainingOptions, {"epochs": 0}),
        (TrainingOptions, {"rating_batch_size": 2.5}),
        (TrainingOptions, {"rating_learning_rate": 0.0}),
        (TrainingOptions, {"ema_decay": 1.0}),
        (TrainingOptions, {"seed": "0"}),
    ],
)
def test_invalid_value_is_refused_by_name(group, values):
    with pytest.raises(pydantic.ValidationError, match=next(iter(values))):
        group(**values)


def test_a_model_needs_a_task():
    with pytest.raises(pydantic.ValidationError, match="at least one of retrieval and rating"):
        Objective(retrieval=0, rating=0)


@pytest.mark.parametrize(("eval_", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_splits_leave_something_for_train(eval_, test):
    with pytest.raises(pydantic.ValidationError, match="eval \\+ test must be below 1"):
        SplitOptions(eval=eval_, test=test)


def test_block_sizes_count_the_constant_coordinates():
    options = ModelOptions(embedding_dim=5, rating_dim=3)
    # A direction of 5 and popularity.
    assert options.retrieval_block_dim == 6


@pytest.mark.parametrize(
    ("num_ratings", "settled"), [(2_000_000, (1_024, 20, 300.0)), (2_000_001, (4_096, 10, 220.0))]
)
def test_what_is_open_is_settled_by_the_number_of_ratings(num_ratings, settled):
    options = TrainingOptions(seed=3).for_ratings(num_ratings)
    found = options.rating_batch_size, options.num_folds, options.tuning_seconds
    assert found == settled
    assert options.seed == 3


def test_what_is_told_stays_however_many_ratings_there_are():
    options = TrainingOptions(rating_batch_size=100, num_folds=7, tuning_seconds=0.0)
    assert options.for_ratings(10_000_000) == options
