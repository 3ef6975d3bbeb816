import pytest
import tensorflow as tf

from serving import graph_rewriting
from serving.loader import load_model
from serving.signatures import read_saved_model


class _Scales(tf.Module):
    def __init__(self):
        self.factor = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x):
        return {"y": x * self.factor}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def square(self, x):
        return {"y": x * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, key) for key in "ab"])
    def difference(self, a, b):
        return {"y": a - b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, key) for key in "ab"])
    def reverse(self, a, b):
        return {"y": b - a}


class TestSecondNames:
    @pytest.fixture(scope="class")
    def path(self, tmp_path_factory):
        path = str(tmp_path_factory.mktemp("scales") / "1")
        module = _Scales()
        signatures = {"serving_default": module.double, "double": module.double}
        signatures |= {name: getattr(module, name) for name in ("square", "difference", "reverse")}
        tf.saved_model.save(module, path, signatures=signatures)
        return path

    def test_only_a_second_name_computes_the_same(self, path):
        contents = read_saved_model(f"{path}/saved_model.pb")
        found = graph_rewriting.computations(contents.signatures, contents.graph.graph_def)
        assert found["serving_default"] == found["double"]
        assert len(set(found.values())) == 4

    def test_each_name_answers(self, path):
        model = load_model(path)
        for name, y in (("", 6.0), ("double", 6.0), ("square", 9.0)):
            assert model.call(name, {"x": [3.0]})["y"].tolist() == [y]
        for name, y in (("difference", -1.0), ("reverse", 1.0)):
            assert model.call(name, {"a": [3.0], "b": [4.0]})["y"].tolist() == [y]
