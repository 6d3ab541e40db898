"""Seeds derived from names, so that no draw depends on how many draws came before it."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**31) that depends on every part and on their order.

    A sampler's random state is not part of an Optuna study. Deriving each trial's seed from
    ``(sweep seed, purpose, trial number)`` makes a resumed sweep propose what it would have proposed uninterrupted.
    """
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
