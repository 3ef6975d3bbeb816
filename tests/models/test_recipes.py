import math

import numpy as np
import pydantic
import pytest

from models.options import AUTO, ModelOptions, TrainingOptions
from models.recipes import (
    RATING,
    RETRIEVAL,
    SPACES,
    Space,
    apply_recipe,
    leave_out_flat,
)
from models.sizing import SIZES
from models.tables import EntityTable


def open_fields(options):
    return {key for key, value in dict(options).items() if value == AUTO}


class TestNarrowed:
    recipes = (
        {"temperature": 0.2, "user_embedding": True, "retrieval_learning_rate": 0.01},
        {"temperature": 0.2, "user_embedding": False, "retrieval_learning_rate": 0.01},
        {"temperature": 0.3, "user_embedding": False, "retrieval_learning_rate": 0.02},
    )

    def test_all_of_a_recipe_is_tried_where_nothing_is_told(self):
        space = Space(self.recipes).narrowed(ModelOptions(), TrainingOptions())
        assert space.recipes == list(self.recipes)

    def test_what_is_told_is_not_tried(self):
        found = Space(self.recipes).narrowed(
            ModelOptions(temperature=0.9),
            TrainingOptions(retrieval_learning_rate=1.0),
        )
        assert found.recipes == [{"user_embedding": True}, {"user_embedding": False}]

    def test_recipes_that_are_then_equal_count_once(self):
        # The first two differ by users' vectors only.
        found = (
            Space(self.recipes)
            .narrowed(ModelOptions(user_embedding=False), TrainingOptions())
            .recipes
        )
        assert found == [
            {"temperature": 0.2, "retrieval_learning_rate": 0.01},
            {"temperature": 0.3, "retrieval_learning_rate": 0.02},
        ]

    def test_nothing_open_is_one_empty_recipe(self):
        model_options = ModelOptions(temperature=0.1, user_embedding=True)
        options = TrainingOptions(retrieval_learning_rate=0.15)
        assert Space(self.recipes).narrowed(model_options, options).recipes == [{}]

    @pytest.mark.parametrize("told", [0, 3])
    def test_a_value_that_counts_as_false_is_told_as_well(self, told):
        options = TrainingOptions(rating_learning_rate=1e-3, rating_epochs=8)
        found = SPACES[RATING].narrowed(ModelOptions(taste_dim=told), options).recipes
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
        recipes = SPACES[RETRIEVAL].narrowed(options, TrainingOptions()).recipes
        assert len(recipes) == len(SPACES[RETRIEVAL].recipes) - 1
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
        space = Space(self.starts, self.grids)
        assert space.places_away(recipe) == places

    def test_fields_that_are_not_open_do_not_count(self):
        assert Space([{"kind": 0, "x": 1}], self.grids).places_away({"kind": 0, "x": 3}) == 2
        assert Space([{}], self.grids).places_away({}) == 0

    def test_fields_that_move_in_whole_runs_count_as_well(self):
        space = Space([{"x": 1, "dim": 32}], {"x": (0, 1, 2)}, {"dim": (32, 64, 128)})
        assert space.places_away({"x": 2, "dim": 128}) == 3


class TestJudge:
    space = Space([{"x": 1}], {"x": (0, 1, 2, 3)}, handicap=0.1)

    @pytest.mark.parametrize(
        ("x", "score", "judged"),
        [(1, 0.5, 0.5), (2, 0.5, 0.45), (3, 0.5, 0.4), (2, -2.0, -2.2), (3, -math.inf, -math.inf)],
    )
    def test_a_place_takes_a_share_off(self, x, score, judged):
        assert self.space.judge({"x": x}, score) == pytest.approx(judged)

    def test_without_a_handicap_the_score_is_what_counts(self):
        space = Space([{"x": 1}], {"x": (0, 1, 2, 3)})
        assert space.judge({"x": 3}, -math.inf) == -math.inf
        assert space.judge({"x": 3}, 0.5) == 0.5


class TestRecipes:
    @pytest.mark.parametrize(
        "recipe", [recipe for space in SPACES.values() for recipe in space.recipes]
    )
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
        training = TrainingOptions().for_ratings(1)
        for retrieval in SPACES[RETRIEVAL].recipes:
            for rating in SPACES[RATING].recipes:
                options = apply_recipe({**retrieval, **rating}, ModelOptions(), training)
                assert open_fields(options[0]) | open_fields(options[1]) == {*SIZES, "low_pass_dim"}

    @pytest.mark.parametrize("space", SPACES.values())
    def test_no_recipe_is_there_twice(self, space):
        narrowed = space.narrowed(ModelOptions(), TrainingOptions())
        assert len(narrowed.recipes) == len(space.recipes)
        assert len({frozenset(recipe) for recipe in space.recipes}) == 1

    def test_what_both_tasks_try_is_disjoint(self):
        assert not set(SPACES[RETRIEVAL].recipes[0]) & set(SPACES[RATING].recipes[0])

    def test_a_field_that_is_never_auto_may_not_be(self):
        with pytest.raises(pydantic.ValidationError, match="factor_dim"):
            ModelOptions(factor_dim=AUTO)

    def test_grids_hold_the_values_of_all_recipes(self):
        for space in SPACES.values():
            for field, values in {**space.grids, **space.whole_grids}.items():
                assert all(recipe[field] in values for recipe in space.recipes)
                assert list(values) == sorted(values)
