import pyarrow as pa
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx_bsl.coders import example_coder

from components.yelp_example_gen import examples

TEXTS = st.one_of(st.text(max_size=5), st.text("aé", min_size=120, max_size=140))
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False)


def columns(values, kind):
    """Makes a strategy of a value, and one of lists of it, with the Arrow types of both."""
    return (
        (st.none() | values, kind),
        (st.none() | st.lists(values, max_size=3), pa.list_(kind)),
        (st.none() | st.lists(values, min_size=60, max_size=70), pa.list_(kind)),
    )


KINDS = [
    *columns(TEXTS, pa.string()),
    *columns(INTS, pa.int64()),
    *columns(FLOATS, pa.float32()),
]


@st.composite
def batches(draw):
    num_rows = draw(st.integers(1, 4))
    arrays = [
        pa.array(draw(st.lists(values, min_size=num_rows, max_size=num_rows)), kind)
        for values, kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    ]
    return pa.RecordBatch.from_arrays(arrays, [f"key{i}" * 30 for i in range(len(arrays))])


def as_lists(column):
    """Makes large lists out of a column, as tfx_bsl's encoder takes them."""
    kind = column.type
    values = column.to_pylist()
    if not pa.types.is_list(kind):
        kind, values = pa.list_(kind), [None if v is None else [v] for v in values]
    item = pa.large_binary() if pa.types.is_string(kind.value_type) else kind.value_type
    encoded = [
        v if v is None or item != pa.large_binary() else [t.encode() for t in v] for v in values
    ]
    return pa.array(encoded, pa.large_list(item))


@given(batches())
@settings(deadline=None)
def test_examples_are_those_of_tfx_bsl(batch):
    peer = pa.RecordBatch.from_arrays([as_lists(c) for c in batch.columns], batch.schema.names)
    expected = example_coder.RecordBatchToExamplesEncoder().encode(peer)
    encoded = examples.encode_examples(batch).to_pylist()
    # Maps have no order, so that these are compared as messages.
    parse = tf.train.Example.FromString
    assert [parse(record) for record in encoded] == [parse(record) for record in expected]
    # Canonical: no byte more than a parser would write.
    assert [len(record) for record in encoded] == [len(record) for record in expected]


def test_slices_of_a_batch():
    batch = pa.record_batch(
        [pa.array(["a", None, "ccc", "d"]), pa.array([[1], [2, 3], None, []])], ["text", "ints"]
    )
    encoded = examples.encode_examples(batch).to_pylist()
    assert examples.encode_examples(batch.slice(1, 2)).to_pylist() == encoded[1:3]


def test_bytes_by_size_and_their_lengths():
    spelt = examples.spell_by_size(pa.array([2, 0, 2]).to_numpy(), lambda size: b"x" * size)
    assert spelt.to_pylist() == [b"xx", b"", b"xx"]
    assert examples.lengths(spelt[1:]).tolist() == [0, 2]
    assert examples.join_bytes([spelt, spelt]).to_pylist() == [b"xxxx", b"", b"xxxx"]
