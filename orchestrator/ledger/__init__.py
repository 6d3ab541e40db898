"""The ledger: the database of record of every sweep, trial, report and decision. It depends on ``core`` alone."""
