import pathlib

import pytest

from models.baselines import registry
from models.errors import ConfigError
from pipeline import config

DEFAULT_YAML = pathlib.Path(config.__file__).parent / "configs" / "default.yaml"


def test_default_yaml_names_every_setting_with_its_default():
    written = config.load_config(str(DEFAULT_YAML))
    assert written == config.PipelineConfig()
    # Equality would also hold for an empty file.
    keys = config._read_yaml(str(DEFAULT_YAML))
    assert set(keys) == set(config.PipelineConfig.model_fields)
    assert set(keys["training"]) == set(config.TrainingOptions.model_fields)


def test_round_trips_through_json():
    changed = config.load_config(None, ["split.method=random", "tower_widths=[32, 16]", "refit=no"])
    assert changed.split.method == "random"
    assert changed.tower_widths == (32, 16)
    assert not changed.refit
    assert config.PipelineConfig.model_validate_json(changed.model_dump_json()) == changed
    assert changed != config.PipelineConfig()


def test_settings_win_over_the_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("split: {method: random, seed: 3}\n", encoding="utf-8")
    loaded = config.load_config(str(path), ["split.seed=4"])
    assert (loaded.split.method, loaded.split.seed) == ("random", 4)


def test_model_options_are_those_of_the_model_alone():
    options = config.load_config(None, ["embedding_dim=8"]).model_options
    assert options.embedding_dim == 8
    assert options.retrieval_block_dim == 9
    assert not hasattr(options, "split")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["split.methd=random"], "unknown key 'split.methd' (expected one of method, eval, test"),
        (["splits=random"], "unknown key 'splits' (expected one of objective, embedding_dim"),
        (["split.method=latest"], "split.method: Input should be 'temporal', 'random'"),
        (["split.eval=0.6", "split.test=0.6"], "eval + test must be below 1"),
        (["split"], "Expected --set key=value, such as split.method=random; got 'split'."),
        (["training.seed=[1"], "Expected a YAML value"),
        (
            ["training.seed=-1"],
            "training.seed: Input should be greater than or equal to 0; got -1.",
        ),
        (
            ["training.seed=4294967296"],
            "training.seed: Input should be less than 2147483648; got 4294967296.",
        ),
        (["refit=true", "refit.x=1"], "Expected 'refit' to be a group"),
        (["objective.rating=0", "objective.retrieval=0"], "at least one of retrieval and rating"),
        (
            ["embedding_dim=0"],
            "embedding_dim: Input should be greater than or equal to 1, or 'auto'; got 0. Correct",
        ),
        (
            ["tower_widths=[64, 0]"],
            "tower_widths.1: Input should be greater than or equal to 1, or 'auto'; got 0. Correct",
        ),
        (["tower_widths=64"], "tower_widths: Input should be a valid tuple, or 'auto'; got 64."),
        (["smoothness=0"], "smoothness: Input should be greater than 0; got 0"),
        (["user_embedding=maybe"], "user_embedding: Input should be a valid boolean"),
        (["temperature=warm"], "temperature: Input should be a valid number"),
        (
            ["review_terms.per_business=-1"],
            "review_terms.per_business: Input should be greater than or equal to 0; got -1",
        ),
        (["dropout=1"], "dropout: Input should be less than 1; got 1"),
        (["baselines.rating=[global_mean]"], "the gate compares with 'bias'"),
        (["baselines.retrieval=[]"], "the gate compares with 'best', but only none is trained"),
        (["gate.rating_baseline=svd", "baselines.rating=[bias]"], "the gate compares with 'svd'"),
        (
            ["gate.slices=[cold]"],
            "gate.slices: Value error, there is no slice 'cold'; there are cold_user, warm_user",
        ),
        (["gate.retrieval_metric=recall"], "there is no retrieval metric 'recall'"),
        (
            ["baselines.retrieval=[popularity, easy]"],
            "baselines.retrieval.1: Value error, there is no baseline 'easy'; there are "
            "popularity, item_knn, als, bpr, ease, low_pass; got 'easy'",
        ),
        (["baselines.rating=[als, bias]"], "there is no baseline 'als'; there are global_mean"),
        (["baselines.max_memory_gb=0"], "baselines.max_memory_gb: Input should be greater than 0"),
    ],
)
def test_refuses_in_one_line(settings, message):
    with pytest.raises(ConfigError) as caught:
        config.load_config(None, settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_that_is_off_needs_no_baseline():
    settings = ["objective.rating=0", "baselines.rating=[]"]
    assert config.load_config(None, settings).baselines.rating == ()


def test_all_baselines_are_wanted_by_default_of_tasks_that_are_on():
    wanted = config.load_config().wanted_baselines
    assert (wanted.rating, wanted.retrieval) == (tuple(registry.RATING), tuple(registry.RETRIEVAL))
    wanted = config.load_config(None, ["objective.rating=0"]).wanted_baselines
    assert (wanted.rating, wanted.retrieval) == ((), tuple(registry.RETRIEVAL))


def test_the_fast_profile_changes_what_it_names_and_yields_to_the_rest(tmp_path):
    fast = config.load_config(fast=True)
    assert fast.baselines.rating == ("bias", "ridge", "lightgbm")
    assert fast.evaluation.native_rows == 0
    assert fast.training.model_copy(update={"tuning_seconds": "auto"}) == config.TrainingOptions()
    assert fast.split == config.SplitOptions()
    path = tmp_path / "c.yaml"
    path.write_text("baselines: {retrieval: [ease]}\n", encoding="utf-8")
    told = config.load_config(str(path), ["baselines.tuning_seconds=7"], fast=True)
    assert told.baselines.retrieval == ("ease",)
    assert told.baselines.tuning_seconds == 7
    assert told.baselines.rating == fast.baselines.rating


def test_refuses_files_that_hold_no_settings(tmp_path):
    with pytest.raises(ConfigError, match="Expected a readable YAML file"):
        config.load_config(str(tmp_path / "missing.yaml"))
    path = tmp_path / "list.yaml"
    path.write_text("- a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="Expected groups of settings .* got a list"):
        config.load_config(str(path))
    path.write_text("a: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="does not parse"):
        config.load_config(str(path))
