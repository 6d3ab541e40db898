"""A seeded sweep over the fake engine gives the proposals, reports, decisions and finals of the recorded one.

A change of behaviour on purpose records the file anew, and its commit says why:
``python -m tests.test_recorded_sweep``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.core.sweeps.policy import SamplerName
from orchestrator.core.trials.trial import TrialRecord
from tests.cluster.fake_sweep import FakeSweep
from tests.fakes.fake_engine import FakeEngineFactory

RECORDED = Path(__file__).parent / "data" / "recorded-sweep.json"
TRIALS = 24
DIGITS = 10
"""Number of compared significant digits; further digits depend on the machine's mathematical library."""


def run_sweep(folder: Path) -> object:
    """Run the sweep in a new folder and return its trials as plain JSON, without times and reasons in words."""
    sweep = FakeSweep(folder=folder, trials=TRIALS, epochs=(1.0, 0.6), sampler=SamplerName.TPE)
    build = FakeEngineFactory(diverges=frozenset({4}), raises={6: 1, 9: 2})
    return json.loads(json.dumps(described(sweep.run(InlineExecutor(build)))))


def described(records: Sequence[TrialRecord]) -> list[dict[str, object]]:
    return [
        {
            "trial": record.number,
            "params": {name: rounded(value) for name, value in record.params.items()},
            "seed": record.seed,
            "state": record.state.value,
            "reports": {
                str(report.nominal_samples): {name: rounded(value) for name, value in report.metrics.items()}
                for report in record.reports
            },
            "decisions": {
                str(samples): [decision.action.value]
                + ([] if decision.outcome is None else [decision.outcome.state.value])
                for samples, decision in sorted(record.decisions.items())
            },
            "final": {name: rounded(value) for name, value in record.final.items()},
        }
        for record in records
    ]


def rounded(value: object) -> object:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def test_seeded_sweep_equals_the_record(tmp_path: Path) -> None:
    assert run_sweep(tmp_path) == json.loads(RECORDED.read_text())


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        RECORDED.write_text(json.dumps(run_sweep(Path(folder)), indent=1) + "\n")
