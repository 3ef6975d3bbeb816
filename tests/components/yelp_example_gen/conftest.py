"""Small, invented Yelp files."""

import gzip
import io
import json
import pathlib
import tarfile

import pytest
from apache_beam.io import filesystem


def make_review(number=0, **changes):
    review = {
        "review_id": f"review-{number:04d}",
        "user_id": f"user-{number % 7}",
        "business_id": f"business-{number % 11}",
        "stars": 1.0 + number % 5,
        "useful": number % 3,
        "funny": 0,
        "cool": number % 200,
        "text": 'Invented, with "quotes", {braces},\nnewlines and an émoji 🍜.',
        "date": f"2015-{1 + number % 12:02d}-{1 + number % 28:02d} 10:20:30",
    }
    return {**review, **changes}


def make_user(number=0, **changes):
    return {
        "user_id": f"user-{number}",
        "name": "Invented",
        "review_count": 3,
        "yelping_since": "2010-05-06 07:08:09",
        "useful": 5,
        "funny": 0,
        "cool": 1,
        "elite": "2012,2013",
        "friends": "user-1, user-2",
        "fans": 4,
        "average_stars": 3.5,
        "compliment_hot": 2,
        **changes,
    }


def make_business(number=0, **changes):
    return {
        "business_id": f"business-{number}",
        "name": f"Invented {number}",
        "address": "1 Nowhere St",
        "city": "Springfield",
        "state": "ZZ",
        "postal_code": "00000",
        "latitude": 12.5,
        "longitude": -45.25,
        "stars": 4.0,
        "review_count": 12,
        "is_open": 1,
        "attributes": {"WiFi": "u'no'", "RestaurantsPriceRange2": "2"},
        "categories": "Noodles, Soup",
        "hours": {"Monday": "0:0-0:0", "Friday": "17:0-2:30"},
        **changes,
    }


def write_lines(path, lines):
    """Writes dicts as JSON lines, and bytes as they are, compressed where the name says so."""
    data = b"".join(
        line + b"\n" if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        for line in lines
    )
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return data


def pack_tar(members, tar_format=tarfile.PAX_FORMAT):
    """Returns a tar of named contents, in their order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tar_format) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


class MemoryFileSystem(filesystem.FileSystem):
    """An object store of Beam under mem://, which nothing but Beam's API can reach."""

    files = {}
    unreadable = set()
    num_bytes_read = 0

    class Stream(io.BytesIO):
        def read(self, size=-1):
            data = super().read(size)
            MemoryFileSystem.num_bytes_read += len(data)
            return data

    @classmethod
    def scheme(cls):
        return "mem"

    def has_dirs(self):
        return False

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        pass

    def _list(self, dir_or_prefix):
        for path in self.files:
            if path.startswith(dir_or_prefix):
                yield self.metadata(path)

    def create(self, path, mime_type=None, compression_type=None):
        raise PermissionError(path)

    def open(self, path, mime_type=None, compression_type=None):
        assert compression_type == filesystem.CompressionTypes.UNCOMPRESSED
        if path in self.unreadable:
            raise PermissionError(f"no access to {path}")
        return self.Stream(self.files[path])

    def exists(self, path):
        return path in self.files

    def size(self, path):
        return len(self.files[path])

    def last_updated(self, path):
        return 7.0

    def metadata(self, path):
        return filesystem.FileMetadata(path, self.size(path), self.last_updated(path))

    def checksum(self, path):
        return str(len(self.files[path]))

    def copy(self, source_file_names, destination_file_names):
        raise PermissionError(source_file_names)

    def rename(self, source_file_names, destination_file_names):
        raise PermissionError(source_file_names)

    def delete(self, paths):
        raise PermissionError(paths)


@pytest.fixture
def memory():
    """The files of mem://, by path."""
    MemoryFileSystem.files.clear()
    MemoryFileSystem.unreadable.clear()
    MemoryFileSystem.num_bytes_read = 0
    return MemoryFileSystem


@pytest.fixture(scope="session")
def pack():
    """`pack_tar`, for tests that hypothesis repeats."""
    return pack_tar


@pytest.fixture
def yelp():
    """The builders above, for tests that can't import this file."""

    class Builders:
        review = staticmethod(make_review)
        user = staticmethod(make_user)
        business = staticmethod(make_business)
        write = staticmethod(write_lines)

    return Builders
