import pytest

from pipeline import kubeflow_entrypoint


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://bucket/a/b", "/m/minio/bucket/a/b"),
        ("s3://bucket/a", "/m/s3/bucket/a"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("/a/b", "/a/b"),
    ],
)
def test_buckets_are_folders_of_the_container(uri, path):
    assert kubeflow_entrypoint.local_path(uri, "/m") == path
    assert kubeflow_entrypoint.bucket_uri(path, "/m") == uri
