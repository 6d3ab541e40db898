"""Errors of requests, as JSON answers."""

import math

from starlette.responses import JSONResponse


class RequestError(Exception):
    """A request that gets an error as its answer.

    Args:
        status: the HTTP status.
        code: the error's name, for programs.
        message: the problem and its remedy, for people.
        retry_after_s: seconds after which the client may try again; None: the same request fails again.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(status, code, message, retry_after_s)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """Return the answer: ``{"error": CODE, "message": TEXT}``."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": self.code, "message": self.message}, self.status, headers)
