import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from components.yelp_example_gen import tables
from models import features
from schemas import loader

KINDS = {
    schema_pb2.BYTES: pa.types.is_string,
    schema_pb2.INT: pa.types.is_int64,
    schema_pb2.FLOAT: pa.types.is_float32,
}


@pytest.mark.parametrize("table", loader.TABLES)
def test_columns_are_those_of_the_schema(table):
    columns = tables.SCHEMAS[table]
    schema = loader.load_schema(table)
    names = {feature.name for feature in schema.feature}
    assert sorted(columns.names) == sorted(names - {features.BUSINESS_REVIEW_TERMS})
    columns = columns.append(pa.field(features.BUSINESS_REVIEW_TERMS, pa.list_(pa.string())))
    for feature in schema.feature:
        kind = columns.field(feature.name).type
        value_kind = kind.value_type if pa.types.is_list(kind) else kind
        assert KINDS[feature.type](value_kind), feature.name
        is_single = feature.HasField("shape") or feature.value_count.max == 1
        assert is_single != pa.types.is_list(kind), feature.name
