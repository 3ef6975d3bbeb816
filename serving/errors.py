"""Errors of a request to a model, each with its HTTP status and gRPC code."""

import re

from models.errors import InputError

# What TensorFlow puts around the words of an error: names of its own, and an assertion's brackets.
_NODE = re.compile(r"\{\{\w+ [^{}]*\}\}\s*")
_ASSERTION = re.compile(r"assertion failed: \[(.*)\]$")


class ServingError(InputError):
    """Reports a request that could not be answered.

    The message follows TensorFlow Serving's wording where that has one.

    Attributes:
      code: Name of the gRPC status code.
      http_status: HTTP status.
    """

    code = "INTERNAL"
    http_status = 500


class InvalidRequestError(ServingError):
    """Reports inputs that don't fit the signature."""

    code = "INVALID_ARGUMENT"
    http_status = 400


class FailedPreconditionError(ServingError):
    """Reports what can't be done in the state that the server is in."""

    code = "FAILED_PRECONDITION"
    http_status = 400


class UnknownSignatureError(FailedPreconditionError):
    """Reports a signature that the model doesn't have."""


class UnauthenticatedError(ServingError):
    """Reports a request without a valid key."""

    code = "UNAUTHENTICATED"
    http_status = 401


class NotFoundError(ServingError):
    """Reports a model or version that isn't served."""

    code = "NOT_FOUND"
    http_status = 404


class RequestTooLargeError(ServingError):
    """Reports a request beyond the size limit."""

    code = "RESOURCE_EXHAUSTED"
    http_status = 413


class CancelledError(ServingError):
    """Reports a request whose client went away."""

    code = "CANCELLED"
    http_status = 499


class UnimplementedError(ServingError):
    """Reports a method of the protocol that this server doesn't have."""

    code = "UNIMPLEMENTED"
    http_status = 501


class OverloadedError(ServingError):
    """Reports a request that was refused because too many are waiting; it may be sent again.

    TensorFlow Serving answers 429 over REST; 503 with Retry-After is what load balancers know.
    """

    code = "RESOURCE_EXHAUSTED"
    http_status = 503


class UnavailableError(ServingError):
    """Reports a server that is stopping, or can't be reached; a request may be sent again."""

    code = "UNAVAILABLE"
    http_status = 503


class DeadlineError(ServingError):
    """Reports a request that was not answered in time."""

    code = "DEADLINE_EXCEEDED"
    http_status = 504


_ERRORS = (
    InvalidRequestError,
    FailedPreconditionError,
    UnauthenticatedError,
    NotFoundError,
    RequestTooLargeError,
    CancelledError,
    UnimplementedError,
    OverloadedError,
    UnavailableError,
    DeadlineError,
)
# Where several share a code or a status, what a client finds most often.
_BY_CODE = {error.code: error for error in _ERRORS}
_BY_STATUS = {error.http_status: error for error in reversed(_ERRORS)}


def error_of_code(code: str) -> type[ServingError]:
    """Finds the error of a gRPC status code.

    Args:
      code: Its name.
    """
    return _BY_CODE.get(code, ServingError)


def error_of_status(status: int) -> type[ServingError]:
    """Finds the error of an HTTP status.

    Args:
      status: Its number.
    """
    return _BY_STATUS.get(status, ServingError)


def reason(error: Exception) -> str:
    """Returns the words of TensorFlow's message that say why, without nodes and stacks."""
    line = _NODE.sub("", str(error).split("\n\t [[")[0]).strip().split("\n")[-1]
    return _ASSERTION.sub(lambda found: found[1].replace("] [", " "), line)
