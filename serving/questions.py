"""What a client may ask, apart from how it is sent: inputs there, typed answers back."""

import dataclasses
import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from serving.errors import InvalidRequestError

Answer = TypeVar("Answer")
Columns = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """A business that was recommended to a user.

    Attributes:
      business_id: Its id.
      score: Affinity; higher is better, comparable within one user's list.
      rating: Stars that the user would give, from 1 to 5.
    """

    business_id: str
    score: float
    rating: float


@dataclasses.dataclass(frozen=True)
class SimilarBusiness:
    """A business that is like another.

    Attributes:
      business_id: Its id.
      score: Similarity; higher is more alike, comparable within one list.
    """

    business_id: str
    score: float


@dataclasses.dataclass(frozen=True)
class Place:
    """What a model knows of a business.

    Attributes:
      name: Its name; "" where that is not known.
      latitude_degrees: Where it is; NaN where that is not known.
      longitude_degrees: Likewise.
    """

    name: str
    latitude_degrees: float
    longitude_degrees: float


@dataclasses.dataclass(frozen=True)
class Filters:
    """Says what lists of recommendations may hold, and how they are ordered.

    Attributes:
      k: The most recommendations of a list; fewer if no more businesses match.
      exclude_seen: Whether to leave out what the user rated in training, or their history.
      exclude_business_ids: Businesses to leave out of all lists.
      category: Category that all recommendations must have; "" for any.
      city: City that all recommendations must be in; "" for any.
      open_at_minute: Minute of the week at which all must be open, in their own time, 0 being
        where Monday begins; see `minute_of_week`. None for any.
      near_degrees: Latitude and longitude that all must be near to; None for anywhere.
      within_km: How near.
      min_stars: The least stars that the user is expected to give.
      retrieval_weight: What affinity counts in the score; as the model was exported if None.
      rating_weight: What predicted stars count in the score, likewise.
      shortlist: If over 0, so many are retrieved by score, and the best k of them by predicted
        stars make the list.
    """

    k: int = 10
    exclude_seen: bool = False
    exclude_business_ids: Sequence[str] = ()
    category: str = ""
    city: str = ""
    open_at_minute: int | None = None
    near_degrees: tuple[float, float] | None = None
    within_km: float = 0.0
    min_stars: float = 0.0
    retrieval_weight: float | None = None
    rating_weight: float | None = None
    shortlist: int = 0

    def __post_init__(self):
        if (self.near_degrees is None) != (not self.within_km):
            raise InvalidRequestError(
                f"Expected near_degrees and within_km together; got {self.near_degrees} and "
                f"{self.within_km}. Give both or none."
            )

    def inputs(self) -> dict[str, list]:
        """Returns the inputs of a signature; what is not asked for is left to its defaults."""
        asked: dict[str, list] = {"k": [self.k]}
        if self.exclude_business_ids:
            asked["exclude_business_id"] = [list(self.exclude_business_ids)]
        if self.open_at_minute is not None:
            asked["open_at_minute"] = [self.open_at_minute]
        if self.near_degrees is not None:
            asked["latitude_degrees"], asked["longitude_degrees"] = ([x] for x in self.near_degrees)
        for name in ("retrieval_weight", "rating_weight"):
            if getattr(self, name) is not None:
                asked[name] = [getattr(self, name)]
        for name in ("exclude_seen", "category", "city", "within_km", "min_stars", "shortlist"):
            if value := getattr(self, name):
                asked[name] = [value]
        return asked


def minute_of_week(when: datetime.datetime) -> int:
    """Returns the minutes since Monday began, by the time's own clock."""
    return when.weekday() * 1_440 + when.hour * 60 + when.minute


@dataclasses.dataclass(frozen=True)
class Newcomer:
    """Says what is known of somebody whom the model was not trained on.

    Attributes:
      history: Businesses that they visited, with stars, or 0 where those are not known.
      covariates: Raw covariates by name, such as `fans`.
    """

    history: Mapping[str, float] = dataclasses.field(default_factory=dict)
    covariates: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Question(Generic[Answer]):
    """A call to a signature, and how its answer is read.

    Attributes:
      signature: Name of the signature.
      inputs: By name, columns. Without any rows nothing need be sent.
      read: Makes the answer of the outputs.
      num_rows: Rows of the answer.
    """

    signature: str
    inputs: Columns
    read: Callable[[Columns], Answer]
    num_rows: int


def recommend(user_ids: Sequence[str], filters: Filters) -> Question[list[list[Recommendation]]]:
    """Asks for recommendations to users; see `serving.client.Client.recommend`."""
    if isinstance(user_ids, str):
        raise InvalidRequestError(f"Expected a list of user ids; got {user_ids!r}. Put it in one.")
    inputs = {"user_id": list(user_ids), **filters.inputs()}
    return Question("recommend", inputs, _read_recommendations, len(user_ids))


def recommend_to_newcomers(
    newcomers: Sequence[Newcomer], filters: Filters
) -> Question[list[list[Recommendation]]]:
    """Asks for recommendations to new users; see `serving.client.Client`."""
    length = max([1, *(len(newcomer.history) for newcomer in newcomers)])
    businesses, stars = [], []
    for newcomer in newcomers:
        padding = length - len(newcomer.history)
        businesses.append([*newcomer.history, *[""] * padding])
        stars.append([*map(float, newcomer.history.values()), *[0.0] * padding])
    names = sorted({name for newcomer in newcomers for name in newcomer.covariates})
    inputs = {
        "history_business_id": businesses,
        "history_stars": stars,
        # -1 stands for what is not known.
        **{name: [int(n.covariates.get(name, -1)) for n in newcomers] for name in names},
        **filters.inputs(),
    }
    return Question("recommend_features", inputs, _read_recommendations, len(newcomers))


def rate(user_ids: Sequence[str], business_ids: Sequence[str]) -> Question[list[float]]:
    """Asks for the stars of pairs; see `serving.client.Client.rate`."""
    if len(user_ids) != len(business_ids):
        raise InvalidRequestError(
            f"Expected a business id for every user id; got {len(user_ids)} users and "
            f"{len(business_ids)} businesses. Give lists of the same length."
        )
    inputs = {"user_id": list(user_ids), "business_id": list(business_ids)}
    return Question("rate", inputs, lambda outputs: list(outputs["rating"]), len(user_ids))


def similar(business_ids: Sequence[str], k: int) -> Question[list[list[SimilarBusiness]]]:
    """Asks for similar businesses; see `serving.client.Client.similar`."""
    inputs = {"business_id": list(business_ids), "k": [k]}
    return Question("similar", inputs, _read_similar, len(business_ids))


def describe(business_ids: Sequence[str]) -> Question[list[Place]]:
    """Asks for names and locations; see `serving.client.Client.describe`."""
    return Question(
        "describe", {"business_id": list(business_ids)}, _read_places, len(business_ids)
    )


def _read_places(outputs: Columns) -> list[Place]:
    columns = (outputs["name"], outputs["latitude_degrees"], outputs["longitude_degrees"])
    return [
        # JSON has no NaN.
        Place(name, *(math.nan if degrees is None else degrees for degrees in position))
        for name, *position in zip(*columns, strict=True)
    ]


def _read_recommendations(outputs: Columns) -> list[list[Recommendation]]:
    columns = (outputs["business_id"], outputs["score"], outputs["rating"])
    return [
        [Recommendation(*found) for found in zip(*row, strict=True) if found[0]]
        for row in zip(*columns, strict=True)
    ]


def _read_similar(outputs: Columns) -> list[list[SimilarBusiness]]:
    return [
        [SimilarBusiness(*found) for found in zip(*row, strict=True) if found[0]]
        for row in zip(outputs["business_id"], outputs["score"], strict=True)
    ]
