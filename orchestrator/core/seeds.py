"""Seeds derived from names, so that no draw depends on the number of earlier draws."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2**31), derived from all parts in their order.

    A sampler's random state is not part of an Optuna study. With seeds derived from
    ``(sweep seed, purpose, trial number)``, a resumed sweep makes the same proposals as an uninterrupted one.
    """
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
