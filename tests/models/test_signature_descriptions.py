import json
import os

import pytest
from tensorflow.core.framework import types_pb2

from models import signature_descriptions
from models.signature_descriptions import INPUTS, OUTPUTS, PURPOSES


@pytest.fixture(scope="module")
def definitions(exact_export):
    return signature_descriptions.read_definitions(exact_export.path)


def test_the_export_holds_the_description(exact_export, definitions):
    with open(os.path.join(exact_export.path, signature_descriptions.DESCRIPTIONS_FILE)) as file:
        written = json.load(file)
    assert written == signature_descriptions.describe(definitions)
    recommend = written["recommend"]
    assert recommend["inputs"]["k"] == {
        "dtype": "int32",
        "shape": [-1],
        "default": [10],
        "description": INPUTS["k"],
    }
    assert recommend["inputs"]["category"]["default"] == [""]
    assert "default" not in recommend["inputs"]["user_id"]
    assert recommend["outputs"]["business_id"]["shape"] == [-1, -1]
    assert written["embed_query"]["outputs"]["embedding"]["dtype"] == "float32"


def test_nothing_is_described_that_is_not_there(definitions):
    assert set(PURPOSES) == set(definitions)
    assert set(INPUTS) == {key for told in definitions.values() for key in told.inputs}
    assert set(OUTPUTS) == {key for told in definitions.values() for key in told.outputs}


@pytest.mark.parametrize("kind", ["input", "output", "signature"])
def test_what_has_no_description_is_refused(definitions, kind):
    name, told = "rate", type(definitions["rate"])()
    told.CopyFrom(definitions["rate"])
    if kind == "signature":
        name = "mystery"
    else:
        tensors = told.inputs if kind == "input" else told.outputs
        tensors["mystery"].dtype = types_pb2.DT_FLOAT
    with pytest.raises(ValueError, match=f"Expected a description of the {kind} 'mystery'"):
        signature_descriptions.describe({name: told})
