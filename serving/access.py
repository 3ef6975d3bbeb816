"""Who may ask: everybody, or those with a key."""

import hmac
from collections.abc import Iterable, Mapping

from serving.errors import UnauthenticatedError

_BEARER = "bearer "


class Access:
    """Knows the keys.

    A key is sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`, over gRPC as metadata of the
    same names.
    """

    def __init__(self, keys: Iterable[str] = ()):
        """Remembers the keys.

        Args:
          keys: Any of them opens the server; without any it is open.
        """
        self._keys = [key.encode() for key in keys]

    @classmethod
    def from_file(cls, path: str) -> "Access":
        """Reads keys, one a line; blank lines and those that begin with # don't count.

        Args:
          path: The file.
        """
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise OSError("no key in it")  # An empty file must not open the server.
        return cls(keys)

    def check_headers(self, headers: Mapping[bytes, bytes]) -> UnauthenticatedError | None:
        """Checks HTTP headers; returns what is wrong with them.

        Args:
          headers: By lower-case name.
        """
        if not self._keys:
            return None
        return self._check(
            headers.get(b"authorization", b"").decode("latin-1"),
            headers.get(b"x-api-key", b"").decode("latin-1"),
        )

    def check_metadata(
        self, metadata: Iterable[tuple[str, str | bytes]]
    ) -> UnauthenticatedError | None:
        """Checks gRPC metadata; returns what is wrong with it.

        Args:
          metadata: Names and values.
        """
        if not self._keys:
            return None
        found = {name: value for name, value in metadata if isinstance(value, str)}
        return self._check(found.get("authorization", ""), found.get("x-api-key", ""))

    def _check(self, authorization: str, api_key: str) -> UnauthenticatedError | None:
        given = api_key
        if authorization[: len(_BEARER)].lower() == _BEARER:
            given = authorization[len(_BEARER) :].strip()
        sent = given.encode("latin-1", "replace")  # The bytes that came over HTTP.
        # All keys are compared, each in constant time, so that timing tells nothing.
        if not any([hmac.compare_digest(sent, key) for key in self._keys]):
            return UnauthenticatedError(
                "Expected a key that the server knows, as 'Authorization: Bearer KEY' or "
                "'X-API-Key: KEY'; got none. Send one."
            )
        return None
