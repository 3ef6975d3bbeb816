import pytest

from models.recipes import Space
from models.tuning import search

_FOREVER = 1e9
SHORT, LONGER = 0.15, 0.4


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


class TestSearch:
    def test_the_best_after_a_whole_run_wins_whoever_leads_at_first(self):
        # Recipe 5 learns slowly; recipe 2 leads until the whole run.
        def score(name, share):
            return {5: 1.2 * share, 2: 0.3 + 0.5 * share}.get(name, 0.01 * name)

        runs = Runs(score)
        trials = search(Space(recipes(8)), runs, _FOREVER)
        assert max(trials, key=lambda t: t.score if t.share == SHORT else 0).recipe["name"] == 2
        assert trial_of(trials[-1]) == (5, 1.0)
        assert trials[-1].score == 1.2
        assert trials[-1].result == f"run {runs.done.index((5, 1.0)) + 1}"

    def test_the_best_go_on(self):
        runs = Runs(lambda name, share: 100 + name + share)
        search(Space(recipes(8)), runs, _FOREVER)
        assert runs.done == [
            *((name, SHORT) for name in range(8)),
            *((name, LONGER) for name in (7, 6, 5)),
            *((name, 1.0) for name in (7, 6)),
        ]

    def test_of_long_runs_less_is_tried(self):
        runs = Runs(lambda name, share: 100 + name + share)
        search(Space(recipes(4)), runs, _FOREVER, num_steps=2_001)
        assert [share for _, share in runs.done] == [0.05] * 4 + [0.2] * 3 + [1.0] * 2

    @pytest.mark.parametrize(("second", "goes_on"), [(0.91, True), (0.89, False)])
    def test_who_is_far_behind_does_not_go_on_to_a_whole_run(self, second, goes_on):
        runs = Runs(lambda name, share: {0: 1.0, 1: second}.get(name, 0.5) * (1 + share))
        search(Space(recipes(4)), runs, _FOREVER)
        assert (0, 1.0) in runs.done
        assert ((1, 1.0) in runs.done) == goes_on

    def test_where_longer_runs_only_overfit_a_short_one_is_the_answer(self):
        runs = Runs(lambda name, share: name - share)
        trials = search(Space(recipes(5)), runs, _FOREVER)
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
        trials = search(Space(starts, {"x": (0, 2, 3), "y": (1, 2, 9), "z": (0, 1)}), run, _FOREVER)
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

        trials = search(Space([{"x": 2}], {"x": (0, 1, 2, 3, 4, 5)}), run, _FOREVER)
        assert done == tried
        assert trials[-1].recipe == {"x": best}

    def test_some_fields_move_in_whole_runs_only(self):
        tried = []

        def run(recipe, share):
            tried.append((recipe["x"], recipe["dim"], share))
            return share - abs(recipe["x"] - 2) + 0.1 * recipe["dim"] * (share - 0.5), None

        starts = [{"x": x, "dim": 1} for x in (1, 0, 2)]
        whole = {"dim": (0, 1, 2, 3)}
        trials = search(Space(starts, {"x": (0, 1, 2)}, whole), run, _FOREVER)
        assert {dim for _, dim, share in tried if share < 1} == {1}
        assert tried[-3:] == [(2, 1, 1.0), (2, 2, 1.0), (2, 3, 1.0)]
        assert trials[-1].recipe == {"x": 2, "dim": 3}

    def test_where_a_short_run_is_best_no_whole_one_follows(self):
        runs = Runs(lambda name, share: name - share)
        space = Space(recipes(5), whole_grids={"name": (0, 1, 2, 3, 4)})
        search(space, runs, _FOREVER)
        assert not any(share == 1.0 for _, share in runs.done)

    def test_what_was_tried_is_not_tried_again(self):
        runs = Runs(lambda name, share: float(name))
        search(Space([{"name": 1}, {"name": 2}], {"name": (0, 1, 2)}), runs, _FOREVER)
        assert [name for name, _ in runs.done] == [1, 2]

    def test_a_move_that_changes_nothing_ends_it(self):
        runs = Runs(lambda name, share: 0.5)
        search(Space([{"name": 1}], {"name": (0, 1, 2, 3)}), runs, _FOREVER)
        assert [name for name, _ in runs.done] == [1, 2, 0]

    def test_few_recipes_are_run_whole_and_so_is_what_the_best_moves_to(self):
        tried = []

        def run(recipe, share):
            tried.append((recipe["x"], share))
            return -abs(recipe["x"] - 3), None

        trials = search(Space([{"x": 0}, {"x": 2}], {"x": (0, 2, 3)}), run, _FOREVER)
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
        trials = search(Space(starts, {"x": (0, 2, 3)}), run, _FOREVER)
        assert [trial for trial in tried if trial[2] == LONGER] == [
            (True, 3, LONGER),
            (False, 2, LONGER),
            (True, 2, LONGER),
        ]
        assert trials[-1].recipe == {"fast": False, "x": 2}

    @pytest.mark.parametrize(("gain", "best"), [(0.04, 1), (0.06, 2)])
    def test_a_move_must_gain_more_than_its_handicap(self, gain, best):
        space = Space([{"x": 1}], {"x": (0, 1, 2)}, handicap=0.05)
        trials = search(space, lambda recipe, share: (1 + gain * recipe["x"], None), _FOREVER)
        assert trials[-1].recipe == {"x": best}
        # What is told is the score as measured.
        assert trials[-1].score == 1 + gain * best

    @pytest.mark.parametrize("count", range(1, 9))
    def test_the_last_trial_is_the_best(self, count):
        runs = Runs(lambda name, share: share - abs(name - 1.2))
        trials = search(Space(recipes(count)), runs, _FOREVER)
        assert trial_of(trials[-1]) == (min(1, count - 1), 1.0)
        assert trials[-1].score == max(trial.score for trial in trials)
        assert len(trials) == len(runs.done)

    def test_of_equal_recipes_the_first_wins(self):
        trials = search(Space(recipes(2)), Runs(lambda name, share: 0.5), _FOREVER)
        assert trial_of(trials[-1]) == (0, 1.0)

    def test_two_recipes_are_both_run_whole(self):
        runs = Runs(lambda name, share: float(name))
        trials = search(Space(recipes(2)), runs, _FOREVER)
        assert runs.done == [(0, 1.0), (1, 1.0)]
        assert [trial_of(trial) for trial in trials] == [(0, 1.0), (1, 1.0)]

    @pytest.mark.parametrize("seconds", [0.0, _FOREVER])
    def test_one_recipe_is_run_once(self, seconds):
        runs = Runs(lambda name, share: 0.0)
        (trial,) = search(Space(recipes(1)), runs, seconds)
        assert runs.done == [(0, 1.0)]
        assert trial.result == "run 1"


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
            # Three short runs and the whole one end within it, a fourth would not.
            (15.5, [(0, SHORT), (1, SHORT), (2, SHORT), (2, 1.0)]),
            # The short runs last 12 seconds; two longer ones, and 10 seconds more, are within it.
            (31.0, [*((name, SHORT) for name in range(8)), (7, LONGER), (6, LONGER), (7, 1.0)]),
        ],
    )
    def test_the_best_so_far_is_run_whole_within_it(self, clock, seconds, done):
        runs = self.runs(clock)
        trials = search(Space(recipes(8)), runs, seconds)
        assert runs.done == done
        assert trial_of(trials[-1]) == done[-1]

    def test_a_whole_run_that_ends_late_is_the_last(self, clock):
        runs = self.runs(clock)
        search(Space(recipes(8)), runs, 25.0)
        # 12 + 12 seconds of shorter runs; the first whole run ends after the time.
        assert runs.done[-1] == (7, 1.0)
        assert sum(share == 1.0 for _, share in runs.done) == 1

    def test_without_time_the_first_of_two_is_run_whole_and_no_more(self, clock):
        runs = self.runs(clock)
        (trial,) = search(Space(recipes(2)), runs, 0.0)
        assert runs.done == [trial_of(trial)] == [(0, 1.0)]
