import numpy as np
import pydantic
import pytest

from models.options import ModelOptions, TrainingOptions
from models.sizing import SIZES
from models.tables import EntityTable
from models.tuning import (
    AUTO,
    RATING_RECIPES,
    RETRIEVAL_GRIDS,
    RETRIEVAL_RECIPES,
    RETRIEVAL_WHOLE_GRIDS,
    apply_recipe,
    leave_out_flat,
    open_recipes,
    places_away,
    search,
)

_FOREVER = 1e9
SHORT, LONGER = 0.15, 0.4


def open_fields(options):
    return {key for key, value in dict(options).items() if value == AUTO}


class TestOpenRecipes:
    recipes = (
        {"temperature": 0.2, "user_embedding": True, "retrieval_learning_rate": 0.01},
        {"temperature": 0.2, "user_embedding": False, "retrieval_learning_rate": 0.01},
        {"temperature": 0.3, "user_embedding": False, "retrieval_learning_rate": 0.02},
    )

    def test_all_of_a_recipe_is_tried_where_nothing_is_told(self):
        assert open_recipes(self.recipes, ModelOptions(), TrainingOptions()) == list(self.recipes)

    def test_what_is_told_is_not_tried(self):
        found = open_recipes(
            self.recipes,
            ModelOptions(temperature=0.9),
            TrainingOptions(retrieval_learning_rate=1.0),
        )
        assert found == [{"user_embedding": True}, {"user_embedding": False}]

    def test_recipes_that_are_then_equal_count_once(self):
        # The first two differ by users' vectors only.
        found = open_recipes(self.recipes, ModelOptions(user_embedding=False), TrainingOptions())
        assert found == [
            {"temperature": 0.2, "retrieval_learning_rate": 0.01},
            {"temperature": 0.3, "retrieval_learning_rate": 0.02},
        ]

    def test_nothing_open_is_one_empty_recipe(self):
        model_options = ModelOptions(temperature=0.1, user_embedding=True)
        options = TrainingOptions(retrieval_learning_rate=SHORT)
        assert open_recipes(self.recipes, model_options, options) == [{}]

    @pytest.mark.parametrize("told", [0, 3])
    def test_a_value_that_counts_as_false_is_told_as_well(self, told):
        options = TrainingOptions(rating_learning_rate=1e-3, rating_epochs=8)
        found = open_recipes(RATING_RECIPES, ModelOptions(taste_dim=told), options)
        assert found == [{}]


class TestApplyRecipe:
    def test_each_field_goes_to_its_options(self):
        recipe = {"temperature": 0.3, "retrieval_learning_rate": 0.02, "user_embedding": False}
        model_options, options = ModelOptions(rating_dim=7), TrainingOptions(seed=5)
        applied, training = apply_recipe(recipe, model_options, options)
        assert applied == ModelOptions(rating_dim=7, temperature=0.3, user_embedding=False)
        assert training == TrainingOptions(seed=5, retrieval_learning_rate=0.02)
        # What came in is as it was.
        assert model_options == ModelOptions(rating_dim=7)
        assert options == TrainingOptions(seed=5)

    def test_an_empty_recipe_changes_nothing(self):
        assert apply_recipe({}, ModelOptions(), TrainingOptions()) == (
            ModelOptions(),
            TrainingOptions(),
        )


class TestLeaveOutFlat:
    flat = np.full([4, 3], 0.7, np.float32)
    varied = np.arange(12, dtype=np.float32).reshape(4, 3)

    def left_out(self, of_users, of_businesses, content, **told):
        users = EntityTable(np.arange(4), of_users)
        businesses = EntityTable(np.arange(4), of_businesses, content=content)
        return leave_out_flat(ModelOptions(**told), users, businesses)

    @pytest.mark.parametrize("content", [flat, np.zeros([4, 0], np.float32)])
    def test_what_is_the_same_for_all_is_not_tried(self, content):
        options = self.left_out(self.flat, self.flat, content)
        assert options == ModelOptions(query_covariates=0.0, candidate_covariates=0.0)
        # Two of the four recipes differ by the users' covariates only.
        recipes = open_recipes(RETRIEVAL_RECIPES, options, TrainingOptions())
        assert len(recipes) == len(RETRIEVAL_RECIPES) - 1
        assert not any("candidate_covariates" in recipe for recipe in recipes)

    def test_each_side_for_itself(self):
        options = self.left_out(self.varied, self.flat, self.flat)
        assert options == ModelOptions(candidate_covariates=0.0)
        assert self.left_out(self.flat, self.varied, self.flat) == ModelOptions(
            query_covariates=0.0
        )

    def test_content_alone_is_enough(self):
        assert self.left_out(self.varied, self.flat, self.varied) == ModelOptions()

    def test_what_is_told_stays(self):
        told = {"query_covariates": 1.0, "candidate_covariates": 0.3}
        assert self.left_out(self.flat, self.flat, self.flat, **told) == ModelOptions(**told)


class Runs:
    """Scores that are given by recipe and share, and a list of what was run."""

    def __init__(self, score):
        self._score = score
        self.done = []

    def __call__(self, recipe, share):
        self.done.append((recipe["name"], share))
        return self._score(recipe["name"], share), f"run {len(self.done)}"


def recipes(count):
    return [{"name": name} for name in range(count)]


def trial_of(trial):
    return trial.recipe["name"], trial.share


NO_GRIDS: dict = {}


class TestSearch:
    def test_the_best_after_a_whole_run_wins_whoever_leads_at_first(self):
        # Recipe 5 learns slowly; recipe 2 leads until the whole run.
        def score(name, share):
            return {5: 1.2 * share, 2: 0.3 + 0.5 * share}.get(name, 0.01 * name)

        runs = Runs(score)
        trials = search(recipes(8), NO_GRIDS, runs, _FOREVER)
        assert max(trials, key=lambda t: t.score if t.share == SHORT else 0).recipe["name"] == 2
        assert trial_of(trials[-1]) == (5, 1.0)
        assert trials[-1].score == 1.2
        assert trials[-1].result == f"run {runs.done.index((5, 1.0)) + 1}"

    def test_the_best_go_on(self):
        runs = Runs(lambda name, share: 100 + name + share)
        search(recipes(8), NO_GRIDS, runs, _FOREVER)
        assert runs.done == [
            *((name, SHORT) for name in range(8)),
            *((name, LONGER) for name in (7, 6, 5)),
            *((name, 1.0) for name in (7, 6)),
        ]

    @pytest.mark.parametrize(("second", "goes_on"), [(0.91, True), (0.89, False)])
    def test_who_is_far_behind_does_not_go_on_to_a_whole_run(self, second, goes_on):
        runs = Runs(lambda name, share: {0: 1.0, 1: second}.get(name, 0.5) * (1 + share))
        search(recipes(4), NO_GRIDS, runs, _FOREVER)
        assert (0, 1.0) in runs.done
        assert ((1, 1.0) in runs.done) == goes_on

    def test_where_longer_runs_only_overfit_a_short_one_is_the_answer(self):
        runs = Runs(lambda name, share: name - share)
        trials = search(recipes(5), NO_GRIDS, runs, _FOREVER)
        assert trial_of(trials[-1]) == (4, SHORT)
        # The longer runs of three say so; whole ones are spared.
        assert runs.done == [
            *((name, SHORT) for name in range(5)),
            (4, LONGER),
            (3, LONGER),
            (2, LONGER),
        ]

    def test_fields_of_the_best_move_along_their_grids(self):
        tried = []

        def run(recipe, share):
            tried.append((recipe["x"], recipe["y"], share))
            return share - abs(recipe["x"] - 3) - abs(recipe["y"] - 1), None

        starts = [{"x": 2, "y": 2}, {"x": 0, "y": 2}, {"x": 2, "y": 9}]
        trials = search(starts, {"x": (0, 2, 3), "y": (1, 2, 9), "z": (0, 1)}, run, _FOREVER)
        assert trials[-1].recipe == {"x": 3, "y": 1}
        # x up from the best start, to the end of its grid; then y up in vain, and down.
        assert tried[3:7] == [(3, 2, SHORT), (3, 9, SHORT), (3, 1, SHORT), (3, 1, LONGER)]

    @pytest.mark.parametrize(
        ("best", "tried"), [(5, [2, 3, 4, 5]), (4, [2, 3, 4, 5]), (2, [2, 3, 1]), (0, [2, 3, 1, 0])]
    )
    def test_a_field_moves_one_way_as_long_as_that_helps(self, best, tried):
        done = []

        def run(recipe, share):
            done.append(recipe["x"])
            return -abs(recipe["x"] - best), None

        trials = search([{"x": 2}], {"x": (0, 1, 2, 3, 4, 5)}, run, _FOREVER)
        assert done == tried
        assert trials[-1].recipe == {"x": best}

    def test_some_fields_move_in_whole_runs_only(self):
        tried = []

        def run(recipe, share):
            tried.append((recipe["x"], recipe["dim"], share))
            return share - abs(recipe["x"] - 2) + 0.1 * recipe["dim"] * (share - 0.5), None

        starts = [{"x": x, "dim": 1} for x in (1, 0, 2)]
        whole = {"dim": (0, 1, 2, 3)}
        trials = search(starts, {"x": (0, 1, 2)}, run, _FOREVER, whole_grids=whole)
        assert {dim for _, dim, share in tried if share < 1} == {1}
        assert tried[-3:] == [(2, 1, 1.0), (2, 2, 1.0), (2, 3, 1.0)]
        assert trials[-1].recipe == {"x": 2, "dim": 3}

    def test_where_a_short_run_is_best_no_whole_one_follows(self):
        runs = Runs(lambda name, share: name - share)
        search(recipes(5), NO_GRIDS, runs, _FOREVER, whole_grids={"name": (0, 1, 2, 3, 4)})
        assert not any(share == 1.0 for _, share in runs.done)

    def test_what_was_tried_is_not_tried_again(self):
        runs = Runs(lambda name, share: float(name))
        search([{"name": 1}, {"name": 2}], {"name": (0, 1, 2)}, runs, _FOREVER)
        assert [name for name, _ in runs.done] == [1, 2]

    def test_a_move_that_changes_nothing_ends_it(self):
        runs = Runs(lambda name, share: 0.5)
        search([{"name": 1}], {"name": (0, 1, 2, 3)}, runs, _FOREVER)
        assert [name for name, _ in runs.done] == [1, 2, 0]

    def test_few_recipes_are_run_whole_and_so_is_what_the_best_moves_to(self):
        tried = []

        def run(recipe, share):
            tried.append((recipe["x"], share))
            return -abs(recipe["x"] - 3), None

        trials = search([{"x": 0}, {"x": 2}], {"x": (0, 2, 3)}, run, _FOREVER)
        assert tried == [(0, 1.0), (2, 1.0), (3, 1.0)]
        assert trials[-1].recipe == {"x": 3}

    def test_the_best_of_each_kind_goes_on(self):
        # "fast" has no grid: it tells kinds apart. Fast recipes lead at first, with all neighbours.
        tried = []

        def run(recipe, share):
            tried.append((recipe["fast"], recipe["x"], share))
            lead = 1.0 if recipe["fast"] else 3.0 * share
            return lead - 0.01 * abs(recipe["x"] - 3), None

        starts = [{"fast": fast, "x": x} for fast, x in ((True, 2), (False, 2), (True, 0))]
        trials = search(starts, {"x": (0, 2, 3)}, run, _FOREVER)
        assert [trial for trial in tried if trial[2] == LONGER] == [
            (True, 3, LONGER),
            (False, 2, LONGER),
            (True, 2, LONGER),
        ]
        assert trials[-1].recipe == {"fast": False, "x": 2}

    @pytest.mark.parametrize("count", range(1, 9))
    def test_the_last_trial_is_the_best(self, count):
        runs = Runs(lambda name, share: share - abs(name - 1.2))
        trials = search(recipes(count), NO_GRIDS, runs, _FOREVER)
        assert trial_of(trials[-1]) == (min(1, count - 1), 1.0)
        assert trials[-1].score == max(trial.score for trial in trials)
        assert len(trials) == len(runs.done)

    def test_of_equal_recipes_the_first_wins(self):
        trials = search(recipes(2), NO_GRIDS, Runs(lambda name, share: 0.5), _FOREVER)
        assert trial_of(trials[-1]) == (0, 1.0)

    def test_two_recipes_are_both_run_whole(self):
        runs = Runs(lambda name, share: float(name))
        trials = search(recipes(2), NO_GRIDS, runs, _FOREVER)
        assert runs.done == [(0, 1.0), (1, 1.0)]
        assert [trial_of(trial) for trial in trials] == [(0, 1.0), (1, 1.0)]

    @pytest.mark.parametrize("seconds", [0.0, _FOREVER])
    def test_one_recipe_is_run_once(self, seconds):
        runs = Runs(lambda name, share: 0.0)
        (trial,) = search(recipes(1), NO_GRIDS, runs, seconds)
        assert runs.done == [(0, 1.0)]
        assert trial.result == "run 1"


class TestPlacesAway:
    grids = {"x": (0, 1, 2, 3), "y": ("a", "b", "c")}
    starts = (
        {"kind": 0, "x": 1, "y": "a"},
        {"kind": 0, "x": 3, "y": "c"},
        {"kind": 1, "x": 0, "y": "a"},
    )

    @pytest.mark.parametrize(
        ("recipe", "places"),
        [
            ({"kind": 0, "x": 1, "y": "a"}, 0),
            ({"kind": 0, "x": 2, "y": "a"}, 1),
            ({"kind": 0, "x": 3, "y": "b"}, 1),  # Of the second.
            ({"kind": 0, "x": 0, "y": "c"}, 3),
            ({"kind": 1, "x": 3, "y": "c"}, 5),  # Those of another kind do not count.
        ],
    )
    def test_of_the_nearest_of_its_kind(self, recipe, places):
        assert places_away(recipe, self.starts, self.grids) == places

    def test_fields_that_are_not_open_do_not_count(self):
        starts = [{"kind": 0, "x": 1}]
        assert places_away({"kind": 0, "x": 3}, starts, self.grids) == 2
        assert places_away({}, [{}], self.grids) == 0


class TestTime:
    @pytest.fixture
    def clock(self, monkeypatch):
        """A clock that goes by runs: a whole one lasts ten seconds."""
        now = [100.0]
        monkeypatch.setattr("models.tuning.time.monotonic", lambda: now[0])
        return now

    @staticmethod
    def runs(clock):
        def score(name, share):
            clock[0] += 10 * share
            return name + share

        return Runs(score)

    @pytest.mark.parametrize(
        ("seconds", "done"),
        [
            # The first recipe is tried in any case.
            (0.0, [(0, SHORT), (0, 1.0)]),
            (3.5, [(0, SHORT), (1, SHORT), (2, SHORT), (2, 1.0)]),
            # The short runs last 12 seconds; two longer ones begin.
            (17.0, [*((name, SHORT) for name in range(8)), (7, LONGER), (6, LONGER), (7, 1.0)]),
        ],
    )
    def test_after_it_only_the_best_so_far_is_run_whole(self, clock, seconds, done):
        runs = self.runs(clock)
        trials = search(recipes(8), NO_GRIDS, runs, seconds)
        assert runs.done == done
        assert trial_of(trials[-1]) == done[-1]

    def test_a_whole_run_that_ends_late_is_the_last(self, clock):
        runs = self.runs(clock)
        search(recipes(8), NO_GRIDS, runs, 25.0)
        # 12 + 12 seconds of shorter runs; the first whole run ends after the time.
        assert runs.done[-1] == (7, 1.0)
        assert sum(share == 1.0 for _, share in runs.done) == 1

    def test_without_time_the_first_of_two_is_run_whole_and_no_more(self, clock):
        runs = self.runs(clock)
        (trial,) = search(recipes(2), NO_GRIDS, runs, 0.0)
        assert runs.done == [trial_of(trial)] == [(0, 1.0)]


class TestRecipes:
    @pytest.mark.parametrize("recipe", [*RETRIEVAL_RECIPES, *RATING_RECIPES])
    def test_names_fields_that_may_be_auto_and_values_that_are_valid(self, recipe):
        of_model = {key: recipe[key] for key in recipe if key in ModelOptions.model_fields}
        of_training = {key: recipe[key] for key in recipe if key in TrainingOptions.model_fields}
        assert not set(of_model) & set(of_training)
        assert {**of_model, **of_training} == recipe
        # Validated, as `apply_recipe` copies without; of the same type, so nothing is coerced.
        for options, fields in (
            (ModelOptions(**of_model), of_model),
            (TrainingOptions(**of_training), of_training),
        ):
            for key, value in fields.items():
                assert getattr(options, key) == value
                assert type(getattr(options, key)) is type(value)
                assert type(options)(**{key: AUTO}) is not None

    def test_a_recipe_of_each_kind_leaves_only_sizes_open(self):
        assert open_fields(ModelOptions()) | open_fields(TrainingOptions())
        for retrieval in RETRIEVAL_RECIPES:
            for rating in RATING_RECIPES:
                options = apply_recipe({**retrieval, **rating}, ModelOptions(), TrainingOptions())
                assert open_fields(options[0]) | open_fields(options[1]) == {*SIZES, "low_pass_dim"}

    @pytest.mark.parametrize("kind", [RETRIEVAL_RECIPES, RATING_RECIPES])
    def test_no_recipe_is_there_twice(self, kind):
        assert len(open_recipes(kind, ModelOptions(), TrainingOptions())) == len(kind)
        assert len({frozenset(recipe) for recipe in kind}) == 1

    def test_what_both_tasks_try_is_disjoint(self):
        assert not set(RETRIEVAL_RECIPES[0]) & set(RATING_RECIPES[0])

    def test_a_field_that_is_never_auto_may_not_be(self):
        with pytest.raises(pydantic.ValidationError, match="factor_dim"):
            ModelOptions(factor_dim=AUTO)

    def test_grids_hold_the_values_of_all_recipes(self):
        for recipe in RETRIEVAL_RECIPES:
            for field, values in {**RETRIEVAL_GRIDS, **RETRIEVAL_WHOLE_GRIDS}.items():
                assert recipe[field] in values
                assert list(values) == sorted(values)
