import gzip
import json
import os

import pytest

from components.yelp_example_gen import input_files, inputs
from models import errors

PREFIX = "yelp_academic_dataset_"


def touch(directory, *names, size=10):
    for name in names:
        (directory / name).write_bytes(b"x" * size)


def explain(function, *args):
    with pytest.raises(errors.InputError) as caught:
        function(*args)
    return str(caught.value)


def test_finds_plain_and_compressed_files(tmp_path):
    touch(tmp_path, f"{PREFIX}review.json.gz", f"{PREFIX}business.json", "other.txt")
    files = inputs.find_inputs(str(tmp_path), "random")
    assert [(f.name, f.table, f.split, f.size_bytes, f.is_gzip) for f in files] == [
        (f"{PREFIX}review.json.gz", "interactions", "", 10, True),
        (f"{PREFIX}business.json", "businesses", "", 10, False),
    ]
    assert files[0].path == str(tmp_path / f"{PREFIX}review.json.gz")


def test_finds_given_splits(tmp_path):
    touch(tmp_path, *(f"{PREFIX}review.{split}.json" for split in ("train", "eval", "test")))
    files = inputs.find_inputs(str(tmp_path), "given")
    assert [f.split for f in files] == ["train", "eval", "test"]


def test_an_eval_file_is_optional(tmp_path):
    touch(tmp_path, f"{PREFIX}review.train.json", f"{PREFIX}review.test.json.gz")
    files = inputs.find_inputs(str(tmp_path), "given")
    assert [f.split for f in files] == ["train", "test"]


def test_a_directory_with_glob_characters(tmp_path):
    directory = tmp_path / "run[1]*"
    directory.mkdir()
    touch(directory, f"{PREFIX}review.json")
    assert len(inputs.find_inputs(str(directory), "random")) == 1


def test_no_such_directory(tmp_path):
    path = str(tmp_path / "nowhere")
    message = (
        f"Expected a directory or a tar with {PREFIX}review.json[.gz]; there is nothing at {path}. "
        "Check the path."
    )
    assert explain(inputs.find_inputs, path, "random") == message


def test_a_filesystem_that_beam_does_not_know():
    message = explain(inputs.find_inputs, "nosuch://bucket/yelp", "random")
    assert message.startswith(
        "Expected a local path or one that Beam can reach; nosuch://bucket/yelp is not "
        "(ValueError: "
    )
    assert "apache-beam[aws] is installed" in explain(inputs.find_inputs, "s3://b/yelp", "random")


def test_a_file_of_another_kind(tmp_path):
    touch(tmp_path, "yelp.csv")
    path = str(tmp_path / "yelp.csv")
    message = (
        f"Expected a directory or a tar with {PREFIX}review.json[.gz]; {path} is a file, but "
        "neither a tar nor named for reviews, users or businesses. Pass Yelp's tar, or name the "
        "file as Yelp does."
    )
    assert explain(inputs.find_inputs, path, "random") == message


def test_an_empty_directory(tmp_path):
    message = (
        f"Expected a directory or a tar with {PREFIX}review.json[.gz]; {tmp_path} is empty. "
        "Put Yelp's JSON files there."
    )
    assert explain(inputs.find_inputs, str(tmp_path), "random") == message


def test_no_review_file(tmp_path):
    touch(tmp_path, f"{PREFIX}user.json", *(f"file{i}" for i in range(9)))
    message = explain(inputs.find_inputs, str(tmp_path), "random")
    assert message == (
        f"Expected a directory or a tar with {PREFIX}review.json[.gz]; {tmp_path} holds file0, "
        "file1, file2, file3, file4, file5, file6, file7 and 2 more. "
        "Put the file there under that name, or pass the directory that holds it."
    )


def test_split_files_under_another_method(tmp_path):
    touch(tmp_path, f"{PREFIX}review.train.json", f"{PREFIX}review.test.json")
    message = explain(inputs.find_inputs, str(tmp_path), "temporal")
    assert message.endswith("Set split.method to given to use the review files of each split.")


def test_one_file_under_given(tmp_path):
    touch(tmp_path, f"{PREFIX}review.json")
    assert explain(inputs.find_inputs, str(tmp_path), "given") == (
        f"Expected a directory or a tar with {PREFIX}review.train.json[.gz] and "
        f"{PREFIX}review.test.json[.gz] (split.method is given); {tmp_path} holds "
        f"{PREFIX}review.json. "
        "Set split.method to temporal, random or leave_last to split the one review file."
    )


def test_both_forms_of_a_file(tmp_path):
    touch(tmp_path, f"{PREFIX}review.json", f"{PREFIX}user.json", f"{PREFIX}user.json.gz")
    assert explain(inputs.find_inputs, str(tmp_path), "random") == (
        f"Expected either {PREFIX}user.json or {PREFIX}user.json.gz in {tmp_path}, found both; "
        "remove one."
    )


def test_the_fingerprint_changes_with_the_files_alone(tmp_path):
    def fingerprint():
        return inputs.fingerprint(inputs.find_inputs(str(tmp_path), "random"))

    touch(tmp_path, f"{PREFIX}review.json", f"{PREFIX}user.json")
    first = fingerprint()
    touch(tmp_path, "notes.txt")
    assert fingerprint() == first
    seen = {first}
    os.utime(tmp_path / f"{PREFIX}user.json", (1, 1))
    seen.add(fingerprint())
    touch(tmp_path, f"{PREFIX}review.json", size=11)
    seen.add(fingerprint())
    touch(tmp_path, f"{PREFIX}business.json.gz")
    seen.add(fingerprint())
    assert len(seen) == 4
    assert all(len(digest) == 64 for digest in seen)


def test_a_single_file(tmp_path):
    touch(tmp_path, "my-reviews_2019.json.gz", "other.json")
    (file,) = inputs.find_inputs(str(tmp_path / "my-reviews_2019.json.gz"), "random")
    assert file.name == "my-reviews_2019.json.gz"
    assert (file.table, file.is_gzip) == ("interactions", True)


def test_a_tar_is_listed_by_its_headers(memory, pack):
    reviews, users = b"r" * 3_000_000, b"u" * 1000
    members = {
        "Dataset_User_Agreement.pdf": b"p" * 1_000_000,
        "./yelp/._yelp_academic_dataset_review.json": b"x" * 100,
        "./yelp/yelp_academic_dataset_user.json.gz": users,
        "./yelp/yelp_academic_dataset_tip.json": b"t" * 5,
        "photos/1.jpg": b"j",
        "./yelp/yelp_academic_dataset_review.json": reviews,
    }
    memory.files["mem://b/yelp_dataset.tar"] = packed = pack(members)
    files = inputs.find_inputs("mem://b/yelp_dataset.tar", "temporal")
    assert [(f.name, f.table, f.size_bytes, f.is_gzip) for f in files] == [
        (f"yelp_dataset.tar/yelp/{PREFIX}review.json", "interactions", 3_000_000, False),
        (f"yelp_dataset.tar/yelp/{PREFIX}user.json.gz", "users", 1000, True),
    ]
    for file, data in zip(files, (reviews, users), strict=True):
        assert packed[file.start : file.start + file.size_bytes] == data
    # The header at the front is read three times: is it readable, is it a tar, what is in it.
    assert memory.num_bytes_read == 1 + 512 + 7 * 512


@pytest.mark.parametrize("name", ["yelp.tar.gz", "yelp.tgz", "yelp_dataset.tar"])
def test_a_compressed_tar_is_left_to_the_pass(memory, name):
    memory.files[f"mem://b/{name}"] = gzip.compress(os.urandom(100_000))
    (archive,) = inputs.find_inputs(f"mem://b/{name}", "given")
    assert (archive.name, archive.is_gzip, archive.takes_splits) == (name, True, True)
    assert memory.num_bytes_read < 1000
    stand_ins = list(input_files.expect_contents([archive]))
    assert [(f.table, f.is_gzip) for f in stand_ins] == [
        ("interactions", False),
        ("users", False),
        ("businesses", False),
    ]


def test_shards_in_the_order_of_their_numbers(tmp_path):
    for part in (2, 10, 1):
        (tmp_path / f"part-{part}").mkdir()
        touch(tmp_path / f"part-{part}", "review.json", f"review-{part}.json", "tip.json")
    touch(tmp_path, "user.json")
    files = inputs.find_inputs(str(tmp_path / "part-*" / "review-*.json"), "random")
    assert [f.name for f in files] == ["review-1.json", "review-2.json", "review-10.json"]
    files = inputs.find_inputs(f"{tmp_path}/part-*/", "random")
    assert [f.name for f in files] == [
        f"part-{part}/{name}"
        for part in (1, 2, 10)
        for name in (f"review-{part}.json", "review.json")
    ]


@pytest.mark.parametrize("local", [True, False])
def test_spans_ascend_and_names_tell_them_apart(tmp_path, memory, local):
    root = f"{tmp_path}/yelp" if local else "mem://b/yelp"
    for span in ("9", "10", "x"):
        for kind in ("review", "user"):
            if local:
                (tmp_path / "yelp" / span).mkdir(parents=True, exist_ok=True)
                touch(tmp_path / "yelp" / span, f"{kind}.json")
            else:
                memory.files[f"{root}/{span}/{kind}.json"] = b"xx"
    wanted = ["9/review.json", "9/user.json", "10/review.json", "10/user.json"]
    files = inputs.find_inputs(root + "/{SPAN}", "random")
    assert [f.name for f in files] == wanted
    files = inputs.find_inputs(json.dumps([f"{root}/10", f"{root}/9"]), "random")
    assert [f.name for f in files] == wanted[2:] + wanted[:2]


def test_a_span_need_not_have_every_table(tmp_path):
    touch(tmp_path, "a_review.json", "b_user.json")
    paths = [str(tmp_path / "a_review.json"), str(tmp_path / "b_user.json")]
    assert [f.table for f in inputs.find_inputs(json.dumps(paths), "random")] == [
        "interactions",
        "users",
    ]
    assert explain(inputs.find_inputs, paths[1], "random").endswith(
        f"{paths[1]} holds b_user.json. Put the file there under that name, or pass the directory "
        "that holds it."
    )


def test_given_splits_across_spans(tmp_path, pack):
    touch(tmp_path, "review.train.json", "review.json")
    members = {f"{PREFIX}review.{split}.json": b"{}" for split in ("test", "eval", "train")}
    (tmp_path / "new.tar").write_bytes(pack(members))
    data = json.dumps([str(tmp_path), str(tmp_path / "new.tar")])
    files = inputs.find_inputs(data, "given")
    assert [f.split for f in files] == ["train", "train", "eval", "test"]


def test_the_same_file_twice(tmp_path):
    touch(tmp_path, "review.json")
    data = json.dumps([str(tmp_path), str(tmp_path / "review.json")])
    assert explain(inputs.find_inputs, data, "random") == (
        f"Expected each file once; {tmp_path}/review.json is meant by 2 of the paths given as "
        "data. Name it once."
    )


def test_both_forms_in_a_tar(tmp_path, pack):
    members = {"d/review.json": b"", "d/review.json.gz": b""}
    (tmp_path / "t.tar").write_bytes(pack(members))
    assert explain(inputs.find_inputs, str(tmp_path / "t.tar"), "random") == (
        f"Expected either review.json or review.json.gz in {tmp_path}/t.tar/d, found both; "
        "remove one."
    )


@pytest.mark.parametrize("local", [True, False])
def test_a_directory_in_place_of_a_file(tmp_path, memory, local):
    root = str(tmp_path) if local else "mem://b/yelp"
    (tmp_path / f"{PREFIX}review.json").mkdir()
    memory.files[f"{root}/{PREFIX}review.json/part-0.json"] = b"x"
    assert explain(inputs.find_inputs, root, "random") == (
        f"Expected {PREFIX}review.json in {root} to be a file; it is a directory. Put the file "
        f"itself there, or pass {root}/{PREFIX}review.json/*.json if its files are named for "
        "their table."
    )


def test_a_zip(tmp_path):
    path = tmp_path / "Yelp-JSON.zip"
    path.write_bytes(b"PK\x03\x04 and more")
    assert explain(inputs.find_inputs, str(path), "random") == (
        f"Expected a directory or a tar with {PREFIX}review.json[.gz]; {path} is a zip. Unzip it, "
        "then pass the tar or the directory that comes out."
    )
    assert explain(inputs.find_inputs, str(tmp_path), "random").endswith(
        "holds Yelp-JSON.zip. Unzip Yelp-JSON.zip, and pass the tar or the directory that comes "
        "out."
    )


def test_a_directory_that_holds_the_tar(tmp_path):
    touch(tmp_path, "yelp_dataset.tar")
    assert explain(inputs.find_inputs, str(tmp_path), "random").endswith(
        f"holds yelp_dataset.tar. Pass {tmp_path}/yelp_dataset.tar itself."
    )


def test_a_tar_without_reviews(tmp_path, pack):
    path = tmp_path / "t.tar"
    path.write_bytes(pack({"a/1.jpg": b"j" * 600, "tip.json": b""}))
    expected = f"Expected a directory or a tar with {PREFIX}review.json[.gz]; {path} holds "
    remedy = "Put the file there under that name, or pass the directory that holds it."
    assert explain(inputs.find_inputs, str(path), "random") == (
        f"{expected}a/1.jpg, tip.json. {remedy}"
    )
    path.write_bytes(path.read_bytes()[:1000])
    assert explain(inputs.find_inputs, str(path), "random") == (
        f"{expected}a/1.jpg, (truncated tar). {remedy}"
    )


def test_an_unreadable_file(memory):
    memory.files["mem://b/review.json"] = b"x"
    memory.unreadable.add("mem://b/review.json")
    assert explain(inputs.find_inputs, "mem://b", "random") == (
        "Expected a file that can be read at mem://b/review.json; got PermissionError: no access "
        "to mem://b/review.json. Check its access rights."
    )


def test_a_pattern_without_matches(tmp_path):
    path = f"{tmp_path}/span-{{SPAN}}/*.json"
    assert explain(inputs.find_inputs, path, "random") == (
        f"Expected a directory or a tar with {PREFIX}review.json[.gz]; nothing matches {path}. "
        "Check the pattern."
    )
