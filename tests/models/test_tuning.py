from models.options import ModelOptions, Objective
from models.tuning import list_trials


def tried(**changes):
    return [
        (
            trial.taste_dim,
            trial.temperature,
            bool(trial.objective.rating),
            bool(trial.objective.retrieval),
        )
        for trial in list_trials(ModelOptions(**changes))
    ]


def test_one_trial_tries_a_value_of_both_blocks():
    assert tried() == [(8, 0.12, True, True), (0, 0.25, True, True)]


def test_a_block_that_is_settled_rests_in_further_trials():
    assert tried(taste_dim=3) == [(3, 0.12, True, True), (3, 0.25, False, True)]
    assert tried(temperature=0.5) == [(8, 0.5, True, True), (0, 0.5, True, False)]


def test_nothing_open_is_one_trial():
    assert tried(taste_dim=0, temperature=0.2) == [(0, 0.2, True, True)]


def test_a_task_that_is_off_is_not_tried():
    assert tried(objective=Objective(rating=0)) == [(8, 0.12, False, True), (8, 0.25, False, True)]
    assert tried(objective=Objective(retrieval=0)) == [
        (8, 0.12, True, False),
        (0, 0.12, True, False),
    ]


def test_weights_and_other_options_are_kept():
    options = ModelOptions(objective=Objective(rating=2.0, retrieval=0.5), embedding_dim=7)
    assert [trial.objective for trial in list_trials(options)] == [options.objective] * 2
    assert {trial.embedding_dim for trial in list_trials(options)} == {7}
