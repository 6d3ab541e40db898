"""The ledger's tables. They share a prefix, and one database with Optuna's tables."""

from sqlalchemy import Column, Float, ForeignKey, ForeignKeyConstraint, Integer, MetaData, String, Table, Text
from sqlalchemy import UniqueConstraint as Unique

from orchestrator.ledger.codec import Json

SCHEMA_VERSION = 4
"""Increased by every change of the tables. An older ledger is migrated, a newer one refused.

Version 2 added ``trials.confirms``, version 3 ``trials.fold`` and ``trials.share``,
version 4 ``trials.origin`` and the requests.
"""

metadata = MetaData()

schema = Table("loratory_schema", metadata, Column("version", Integer, primary_key=True))

sweeps = Table(
    "loratory_sweeps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("fingerprint", Json, nullable=False),
    Column("spec_text", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("experiment_id", String(200)),
    Column("run_id", String(200)),
    Column("created_at", Float(53), nullable=False),
    Column("elapsed_s", Float(53), nullable=False),  # running time of all drivers, added by their heartbeats
    Unique("name", "generation"),
)

trials = Table(
    "loratory_trials",
    metadata,
    Column("sweep_id", ForeignKey(sweeps.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # Optuna's number: Optuna also counts duplicates, which never run. Negative for trials outside of the study.
    Column("study_number", Integer, nullable=False),
    Column("params", Json, nullable=False),
    Column("settings", Json, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", Text),
    Column("final", Json, nullable=False),
    Column("run_id", String(200)),
    Column("started_at", Float(53), nullable=False),
    Column("ended_at", Float(53)),
    Column("confirms", Integer),  # number of the trial trained again with another seed; null: a trial of the search
    Column("fold", Integer),  # the fold that validates; null: the sweep's validation split
    Column("share", Float(53)),  # share of the training rows, for a point of the learning curve; null: no such point
    Column("origin", Text),  # who asked for a clone, of which trial and why; null: proposed by the sampler
    Unique("sweep_id", "study_number"),
)


def _trial_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["sweep_id", "trial"], [trials.c.sweep_id, trials.c.number], ondelete="CASCADE")


reports = Table(
    "loratory_reports",
    metadata,
    Column("sweep_id", Integer, primary_key=True, autoincrement=False),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("nominal_samples", Integer, primary_key=True, autoincrement=False),
    Column("metrics", Json, nullable=False),
    Column("checkpoint", Text),
    Column("started_at", Float(53), nullable=False),
    Column("ended_at", Float(53), nullable=False),
    _trial_key(),
)

decisions = Table(
    "loratory_verdicts",
    metadata,
    Column("sweep_id", Integer, primary_key=True, autoincrement=False),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("nominal_samples", Integer, primary_key=True, autoincrement=False),
    Column("action", String(20), nullable=False),
    Column("state", String(20)),
    Column("reason", Text),
    _trial_key(),
)

cursors = Table(
    "loratory_cursors",
    metadata,
    Column("sweep_id", ForeignKey(sweeps.c.id, ondelete="CASCADE"), primary_key=True),
    Column("scope", String(20), primary_key=True),  # "sweep", or the trial's number
    Column("data", Json, nullable=False),
)

drivers = Table(
    "loratory_drivers",
    metadata,
    Column("sweep_id", ForeignKey(sweeps.c.id, ondelete="CASCADE"), primary_key=True),
    Column("token", String(40), nullable=False),  # distinguishes two holds by the same process
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started_at", Float(53), nullable=False),  # a pid may be reused by another process
    Column("since", Float(53), nullable=False),
    Column("heartbeat_at", Float(53), nullable=False),
)

requests = Table(
    "loratory_requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", ForeignKey(sweeps.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("trial", Integer),
    Column("params", Json),
    Column("more", Json),
    Column("requested_by", String(400), nullable=False),
    Column("reason", Text),
    Column("requested_at", Float(53), nullable=False),
    Column("answer", String(20)),  # null: not answered yet
    Column("outcome", Text),
    Column("answered_at", Float(53)),
    Column("clone", Integer),
    Column("limits", Json),
)
