"""Run a sweep from Python and look at its results; in a notebook, each block is a cell.

    PYTHONPATH=. python docs/examples/notebook.py

Two short trials over the tickets of this folder, in about a minute on two CPU cores.
"""

from pathlib import Path

from orchestrator import load_sweep, open_sweep, run_sweep

# Check the sweep file, with other values than it has.
spec = load_sweep(
    Path(__file__).with_name("tickets.yaml"),
    overrides=["name=tickets-notebook", "training.epochs=1", "budget.trials=2"],
)

# Run it in this process. The same call again returns the stored results at once.
sweep = run_sweep(spec, say=print)
print(sweep.reference, sweep.status, sweep.metric.name)

# Results are typed objects ...
best = sweep.best
assert best is not None
print(f"trial {best.number}: {best.result}, {dict(best.params)}")

# ... and a pandas frame with one row per trial.
print(sweep.to_frame().to_string())

# Any stored sweep can be opened later, also one from the command line.
print(open_sweep("tickets-notebook").report_path)
