"""Start points for a search, from measured learning rates and from earlier sweeps of the ledger."""
