import pytest

from components.yelp_example_gen import file_names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("yelp_academic_dataset_review.json", ("interactions", "")),
        ("yelp_academic_dataset_review.eval.json.gz", ("interactions", "eval")),
        ("review-00001-of-00010.json.gz", ("interactions", "")),
        ("review.train-part3.json", ("interactions", "train")),
        ("yelp_academic_dataset_user.json", ("users", "")),
        ("business.json", ("businesses", "")),
        ("user.train.json", None),
        ("._yelp_academic_dataset_review.json", None),
        ("yelp_academic_dataset_tip.json", None),
        ("yelp_academic_dataset_checkin.json", None),
        ("photos.json", None),
        ("review.csv", None),
        ("review_clean.json", None),
        ("my_review.json", None),
        ("review" + "1" * 10_000 + ".csv", None),
    ],
)
def test_names_as_yelp_or_a_splitter_gives_them(name, content):
    assert file_names.classify(name) == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("review_clean.json", ("interactions", "")),
        ("2019_reviews.json.gz", ("interactions", "")),
        ("my.review.test.v2.json", ("interactions", "test")),
        ("user_reviews.json", ("interactions", "")),
        ("businesses-ny.json", ("businesses", "")),
        ("previewer.json", None),
        ("tip.json", None),
    ],
)
def test_names_of_chosen_files(name, content):
    assert file_names.classify(name, chosen=True) == content


def test_numbers_in_names_count_as_numbers():
    names = ["b1", "a10", "a9", "a"]
    assert sorted(names, key=file_names.sort_key) == ["a", "a9", "a10", "b1"]
