"""The limits of the server, and the rate of requests from one client."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_CLIENTS = 10_000
"""Number of remembered clients. The one without a request for the longest time is forgotten first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of the server.

    Attributes:
        batch_rows: most rows computed together.
        batch_wait_s: time in seconds for which a row waits for others, if the server is idle.
        waiting_rows: most rows that wait; the server refuses further requests.
        request_rows: most texts in a request.
        text_chars: most characters in a text.
        body_bytes: most bytes in the body of a request.
        body_s: longest time in seconds until the body has arrived.
        new_tokens: most tokens of a generated answer.
        rate: requests per second from one client address, on average; a burst may have twice as many.
        grace_s: time in seconds for requests in progress after the signal to stop.
    """

    batch_rows: int = 32
    batch_wait_s: float = 0.002
    waiting_rows: int = 1024
    request_rows: int = 256
    text_chars: int = 20_000
    body_bytes: int = 2_000_000
    body_s: float = 30.0
    new_tokens: int = 256
    rate: float = 100.0
    grace_s: float = 30.0


class RequestRate:
    """The rate of requests of each client, as a token bucket.

    Args:
        rate: requests per second, on average; the bucket holds the requests of two seconds, and at least one.
        clock: returns the time in seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._size = max(1.0, 2 * rate)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request; return 0 if it is admitted, else the time in seconds until the next one is."""
        now = self._clock()
        level, seen = self._buckets.pop(client, (self._size, now))
        level = min(self._size, level + (now - seen) * self._rate)
        admitted = level >= 1
        self._buckets[client] = (level - 1 if admitted else level, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if admitted else (1 - level) / self._rate
