"""Packaging of t2rec: five importable packages and the `t2rec` console script."""

from setuptools import find_packages, setup

PACKAGES = ["pipeline", "components", "models", "schemas", "serving"]

setup(
    name="t2rec",
    version="0.1.0",
    description=(
        "A TFX pipeline that trains, validates and serves two-tower recommenders "
        "on the Yelp Open Dataset."
    ),
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.11",
    packages=find_packages(include=[p + suffix for p in PACKAGES for suffix in ("", ".*")]),
    package_data={
        "schemas": ["*.pbtxt"],
        "pipeline": ["configs/*.yaml"],
        "serving": ["*.html"],
        "components.pusher": ["templates/*.j2"],
        "components.report": ["templates/*.j2"],
    },
    # The ranges that are known to resolve together; requirements.lock pins the whole tree.
    install_requires=[
        "tfx[kfp]==1.16.0",
        "tensorflow~=2.16.2",
        "tf-keras~=2.16.0",
        "tensorflow-recommenders==0.7.7",
        "scann==1.3.2",
        "apache-beam[gcp]==2.62.0",
        "tensorflow-serving-api~=2.16.1",
        "google-crc32c",
        "python-snappy<0.7",
        "polars",
        "orjson",
        "pandas",
        "packaging",
        "pydantic>=2.7",
        "scipy",
        "scikit-dimension~=0.5.0",
        "matplotlib",
        "lightgbm",
        "scikit-surprise",
        "implicit",
        "pyyaml",
        "grpcio-health-checking~=1.48",
        "grpcio-reflection~=1.48",
        "prometheus-client",
        "httpx",
        "jinja2",
        "altair",
        "vl-convert-python",
        "httptools",
        "uvloop",
    ],
    entry_points={
        "console_scripts": [
            "t2rec = pipeline.cli:program",
            "t2rec-beam-worker = pipeline.beam_worker:main",
        ]
    },
)
