"""The findings of a sweep: every rule with hand-made trials, known and unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import LIMIT, OVERFITTING, TrialRecord, TrialState
from orchestrator.report.confirmation import ConfirmedScore
from orchestrator.report.explanation import explain
from orchestrator.report.findings import ADVICE, Finding, Rule
from orchestrator.report.html import render_page
from orchestrator.report.kept_adapters import Comparison
from orchestrator.report.summary import Importances, Summary, summarise
from tests.report.examples import METRIC, make_sweep, report, trial

RATE = {"low": 1e-5, "high": 1e-3, "log": True, "step": None}
RANK = {"low": 2, "high": 64, "log": False, "step": 2}


def one(
    number: int,
    score: float,
    *,
    gap: float = 0.05,
    samples: int = 2000,
    losses: Sequence[float] = (0.60, 0.50, 0.499),
    offsets: Sequence[float] = (-0.02, -0.01, 0.0),
    params: Mapping[str, ParamValue] = MappingProxyType({}),
    **other: object,
) -> TrialRecord:
    """Return a trial with a report for each loss; ``offsets`` are added to the score."""
    reports = [
        report(
            number,
            samples * (place + 1),
            1e9 + 100 * number + place,
            val__accuracy=score + offset,
            val__loss=loss,
            train__loss=loss - gap,
            gap__loss=gap,
        )
        for place, (loss, offset) in enumerate(zip(losses, offsets, strict=True))
    ]
    return trial(number, {"learning_rate": 1e-4, "rank": 16, **params}, tuple(reports), **other)


def summary_of(records: Sequence[TrialRecord], space: Mapping[str, object] | None = None, **other: object) -> Summary:
    facts = {"end_reason": "all trials were started", "start_points": 1, **other}
    status = facts.pop("status", SweepStatus.FINISHED)
    importances = facts.pop("importances", None)
    assert importances is None or isinstance(importances, Importances)
    fingerprint = {"metric": METRIC, "space": space or {"learning_rate": RATE, "rank": RANK}}
    sweep = make_sweep(status=status, fingerprint=fingerprint, facts=SweepFacts(**facts))  # type: ignore[arg-type]
    return summarise(sweep, records, importances)


def found(summary: Summary, rule: Rule) -> Finding:
    (finding,) = [each for each in explain(summary) if each.rule is rule]
    return finding


def trials(scores: Sequence[float], **other: object) -> list[TrialRecord]:
    return [one(number, score, **other) for number, score in enumerate(scores)]  # type: ignore[arg-type]


def test_every_topic_has_a_finding_without_trials() -> None:
    findings = explain(summary_of([]))
    assert {finding.topic for finding in findings} >= {"why it ended", "what mattered", "bounds of the space", ADVICE}
    assert [finding.rule for finding in findings if finding.known] == [Rule.END]
    assert all(finding.sentence.startswith("Cannot say: ") for finding in findings if not finding.known)


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        (SweepStatus.FINISHED, "no trial pays", "The search ended because no trial pays; 1 of 2 trials were stopped"),
        (SweepStatus.INTERRUPTED, "stopped", "The sweep was interrupted after 2 trials: stopped. The same command"),
        (SweepStatus.RUNNING, None, "The sweep is still running, with 2 trials so far."),
        (SweepStatus.FINISHED, None, "Cannot say: no reason for the end is stored."),
    ],
)
def test_end_states_reason(status: SweepStatus, reason: str | None, sentence: str) -> None:
    records = [one(0, 0.8), one(1, 0.7, state=TrialState.PRUNED)]
    finding = found(summary_of(records, status=status, end_reason=reason), Rule.END)
    assert finding.sentence.startswith(sentence)
    assert finding.numbers == {"trials": 2, "complete": 1, "pruned": 1}
    assert finding.known == (not sentence.startswith("Cannot say"))


def test_unfinished_trials_are_continued_by_a_larger_budget() -> None:
    records = [one(0, 0.7, state=TrialState.PRUNED), one(1, 0.8, state=TrialState.RUNNING, ended_at=None)]
    spent = summary_of(records, end_reason="the wall time of 30 min is spent", baseline={"val/accuracy": 0.9})
    assert found(spent, Rule.END).sentence == (
        "The search ended because the wall time of 30 min is spent; 1 of 2 trials were stopped early, 1 unfinished. A "
        "larger budget continues them."
    )
    assert found(spent, Rule.BASELINE).sentence == (
        "No trial is better than the baseline on val/accuracy (0.8000 to 0.9000). No trial was trained further than "
        "6,000 samples, and 1 of 2 trials are unfinished: a larger budget continues them."
    )
    assert found(spent, Rule.MORE_TRIALS).sentence == (
        "Continue the search: 1 of 2 trials are unfinished, because the wall time of 30 min is spent. Raise this limit "
        "in section budget and repeat the sweep command."
    )
    assert "complete trials" not in found(spent, Rule.MORE_ROWS).sentence


def test_baseline_is_compared_with_the_winner() -> None:
    records = trials([0.8, 0.7])
    better = found(summary_of(records, baseline={"val/accuracy": 0.75}), Rule.BASELINE)
    assert better.sentence == "Trial 0 beats the baseline on val/accuracy: 0.8000 to 0.7500."
    worse = found(summary_of(records, baseline={"val/accuracy": 0.85}), Rule.BASELINE)
    assert worse.sentence.startswith("No trial is better than the baseline on val/accuracy (0.8000 to 0.8500)")
    assert not found(summary_of(records), Rule.BASELINE).known


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (0.9, "; the gain is at least twice this noise."),
        (0.805, "; the gain is less than twice this noise: it may be chance."),
    ],
)
def test_gain_is_compared_with_noise(best: float, said: str) -> None:
    restless: dict[str, Any] = {
        "offsets": (-0.05, -0.04, -0.03, 0.0, -0.01, 0.0),
        "losses": (0.6, 0.55, 0.5, 0.5, 0.5, 0.5),
    }
    finding = found(summary_of(trials([0.8, best], **restless)), Rule.FIRST_GUESS)
    assert finding.numbers["noise"] == pytest.approx(0.02 / 6**0.5)
    assert finding.numbers["difference"] == pytest.approx(best - 0.8)
    assert finding.sentence.startswith("The search improved val/accuracy by ")
    assert finding.sentence.endswith(said)


def test_gain_without_known_noise_may_be_chance() -> None:
    finding = found(summary_of(trials([0.8, 0.9])), Rule.FIRST_GUESS)
    assert finding.sentence.endswith("have too few reports to show the noise of one configuration: it may be chance.")


def test_search_without_gain_is_stated() -> None:
    finding = found(summary_of(trials([0.8, 0.7])), Rule.FIRST_GUESS)
    assert finding.sentence.startswith("The search found no better configuration than start point trial 0")
    assert (finding.numbers["start"], finding.numbers["best"]) == (0.8, 0.7)


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ({"start_points": 0}, "the sweep has no start points"),
        ({"status": SweepStatus.RUNNING}, "the sweep has not finished"),
        ({"start_points": 2}, "the start points or the proposals have no score"),
    ],
)
def test_gain_without_evidence_is_unknown(facts: dict[str, Any], missing: str) -> None:
    finding = found(summary_of(trials([0.8, 0.9]), **facts), Rule.FIRST_GUESS)
    assert not finding.known
    assert missing in finding.sentence


def test_importances_of_few_trials_are_rough() -> None:
    records = [one(n, 0.9 - n / 100, params={"learning_rate": (n + 1) * 1e-4}) for n in range(20)]
    shares = {"rank": 0.29, "learning_rate": 0.71}
    few = found(
        summary_of(records, importances=Importances(values=shares, note="19 trials", trials=19)), Rule.IMPORTANCE
    )
    assert few.sentence == (
        "Share of the variance of val/accuracy explained: learning_rate 71 %, rank 29 % (19 trials). learning_rate of "
        "the best 3 trials: 1e-4, 2e-4, 3e-4. 19 trials for 2 parameters are few, so the shares are rough."
    )
    assert few.numbers == {"learning_rate": 0.71, "rank": 0.29, "trials": 19}
    enough = found(summary_of(records, importances=Importances(values=shares, trials=20)), Rule.IMPORTANCE)
    assert "rough" not in enough.sentence
    none = found(summary_of(records, importances=Importances(note="too few trials: 10 needed")), Rule.IMPORTANCE)
    assert none.sentence == "Cannot say: too few trials: 10 needed."


def test_ties_come_from_the_paired_tests() -> None:
    summary = summary_of(trials([0.8, 0.7]))
    assert not found(summary, Rule.TIES).known
    comparison = Comparison(tied=(0, 1), worse=(), rows=1500, p_value=0.31, preferred=1, reasons=("smallest rank (4)",))
    tied = replace(summary, leaderboard=replace(summary.leaderboard, comparison=comparison))
    finding = found(tied, Rule.TIES)
    assert finding.sentence.startswith("Kept adapters: trials 0 and 1 cannot be told apart on 1,500 test rows")
    assert finding.numbers == {"tied": 2, "rows": 1500, "p_value": 0.31}


def test_luck_of_the_winner_is_stated() -> None:
    summary = summary_of(trials([0.8, 0.7]))
    assert not found(summary, Rule.FRESH_SEEDS).known
    score = ConfirmedScore(
        trial=0,
        trainings=(2, 3),
        failed=0,
        metric="val/accuracy",
        searched=0.8,
        values=(0.78, 0.79),
        mean=0.785,
        test=None,
        test_interval=None,
    )
    facts = replace(summary.sweep.facts, confirmation="no training with fresh seeds: 15 % of 9 samples are few")
    reasoned = replace(summary, sweep=replace(summary.sweep, facts=facts))
    assert found(reasoned, Rule.FRESH_SEEDS).sentence.endswith(
        "No training with fresh seeds: 15 % of 9 samples are few."
    )
    confirmed = explain(replace(reasoned, confirmation=(score,)))
    assert [each.sentence for each in confirmed if each.rule is Rule.FRESH_SEEDS][1].startswith("No training with")
    finding = found(replace(summary, confirmation=(score,)), Rule.FRESH_SEEDS)
    assert finding.sentence.endswith("The search's value is better by 0.0150: it was chosen as the best of many.")
    assert finding.numbers == {"trainings": 2, "failed": 0, "searched": 0.8, "mean": 0.785}


def test_steady_trials_were_long_enough() -> None:
    summary = summary_of(trials([0.8, 0.7]))
    finding = found(summary, Rule.LENGTH)
    assert finding.sentence == (
        "Trials were long enough: val/loss of none of the best 2 complete trials was at its lowest at the end and "
        "still falling by more than 2 % a report. The best checkpoint of trial 0 is at 6,000 of 6,000 samples."
    )
    assert finding.numbers["steps"] == 375
    assert Rule.LONGER_TRAINING not in {each.rule for each in explain(summary)}


def test_falling_loss_asks_for_longer_training() -> None:
    summary = summary_of([one(0, 0.8), one(1, 0.7, losses=(0.6, 0.5, 0.4))])
    finding = found(summary, Rule.LENGTH)
    assert finding.sentence == (
        "1 of the best 2 complete trials still improved at their end: val/loss of trial 1 fell by 20.0 % between its "
        "last two reports."
    )
    assert finding.numbers["fall"] == pytest.approx(0.2)
    assert "after 375 optimizer steps" in found(summary, Rule.LONGER_TRAINING).sentence


def test_late_fall_after_an_earlier_minimum_is_no_improvement() -> None:
    overfitted = one(0, 0.8, samples=100, losses=(0.5, 0.9, 0.8), offsets=(0.0, -0.02, -0.01))
    summary = summary_of([overfitted])
    assert found(summary, Rule.LENGTH).sentence.endswith("The best checkpoint of trial 0 is at 100 of 300 samples.")
    assert Rule.LONGER_TRAINING not in {each.rule for each in explain(summary)}


def test_few_optimizer_steps_are_too_short() -> None:
    summary = summary_of([one(0, 0.8, samples=100)])
    expected = "Trials were too short to tell: 19 optimizer steps are fewer than the 256 that a new adapter needs."
    assert found(summary, Rule.LENGTH).sentence == expected
    assert found(summary, Rule.LONGER_TRAINING).numbers["steps"] == 19


@pytest.mark.parametrize(("limit", "advised"), [(0.8, {Rule.LABELS}), (0.9, {Rule.LONGER_TRAINING})])
def test_winner_at_the_limit_of_labels_needs_no_training(limit: float, advised: set[Rule]) -> None:
    summary = summary_of([one(0, 0.8, samples=100)])
    limited = replace(summary, leaderboard=replace(summary.leaderboard, label_limit=limit))
    rules = {each.rule for each in explain(limited)}
    assert rules & {Rule.LABELS, Rule.LONGER_TRAINING, Rule.LARGER_MODEL} == advised


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        (one(0, 0.8, state=TrialState.PRUNED), "no trial reached its end"),
        (one(0, 0.8, losses=(0.5,), offsets=(0.0,)), "fewer than two reports with val/loss"),
    ],
)
def test_length_without_evidence_is_unknown(record: TrialRecord, missing: str) -> None:
    finding = found(summary_of([record]), Rule.LENGTH)
    assert not finding.known
    assert missing in finding.sentence


def test_touched_bound_names_value_and_count() -> None:
    rates = [9.8e-4, 1e-3, 1e-4, 2e-4, 1e-5, 3e-5]
    records = [one(n, 0.9 - n / 100, params={"learning_rate": rate}) for n, rate in enumerate(rates)]
    summary = summary_of(records)
    finding = found(summary, Rule.BOUNDS)
    assert finding.sentence == "learning_rate: 2 of the best 3 trials lie within 5 % of the upper bound 1e-3."
    assert finding.numbers == {"touching": 2, "best": 3, "bound": 1e-3}
    assert found(summary, Rule.WIDER_RANGES).sentence == "Wider ranges may help: learning_rate above 1e-3."


@pytest.mark.parametrize(
    ("space", "values", "touched"),
    [
        ({"rank": {"choices": [4, 8, 16]}}, (16, 16, 16), "rank: 3 of the best 3 trials lie at the upper bound 16."),
        ({"rank": {"choices": [4, 8, 16]}}, (16, 16, 8), None),  # two of three are no surprise among three choices
        ({"rank": {"choices": [4, 8]}}, (8, 8, 8), None),
        ({"rank": RANK}, (2, 2, 30), "rank: 2 of the best 3 trials lie within 5 % of the lower bound 2."),
        ({"rank": {**RANK, "low": 1}}, (1, 1, 1), None),  # no rank is below 1
    ],
)
def test_coarse_and_fixed_bounds_are_judged_strictly(
    space: dict[str, object], values: tuple[int, ...], touched: str | None
) -> None:
    records = [one(n, 0.9 - n / 100, params={"rank": rank}) for n, rank in enumerate((*values, 8, 8, 8))]
    finding = explain(summary_of(records, space))
    sentences = [each.sentence for each in finding if each.rule is Rule.BOUNDS]
    if touched is None:
        assert all(Rule.WIDER_RANGES is not each.rule for each in finding)
        assert len(sentences) == 1
        assert "rank:" not in sentences[0]
    else:
        assert sentences == [touched]


def test_bounds_of_few_trials_are_unknown() -> None:
    finding = found(summary_of(trials([0.8, 0.7])), Rule.BOUNDS)
    assert not finding.known
    assert finding.sentence.endswith("needs 6 trials with a score, and 2 have one.")


@pytest.mark.parametrize(
    ("winner", "said"),
    [
        (7, "More trials may help: only 0 of 8 trials came after trial 7, the best of the search."),
        (2, "More trials: no sign of a gain; none of the 5 trials after trial 2 was better."),
    ],
)
def test_place_of_the_winner_decides_on_more_trials(winner: int, said: str) -> None:
    records = [one(n, 0.9 if n == winner else 0.8) for n in range(8)]
    finding = found(summary_of(records), Rule.MORE_TRIALS)
    assert finding.sentence == said
    assert finding.numbers == {"trials": 8, "winner": winner, "later": 7 - winner}
    assert not found(summary_of(records[: winner + 1][-7:]), Rule.MORE_TRIALS).known


def test_functions_have_no_optimizer_steps() -> None:
    adapter = one(0, 0.8, samples=100, losses=(0.9, 0.7, 0.5))
    summary = summary_of([replace(adapter, settings=TrialSettings(values={"width": 8}))])
    length, advice = found(summary, Rule.LENGTH), found(summary, Rule.LONGER_TRAINING)
    assert "steps" not in length.sentence
    assert "steps" not in length.numbers
    assert advice.sentence.endswith("still improved at their end. Raise function.samples.")


def test_trials_ended_by_a_limit_do_not_ask_for_longer_training() -> None:
    falling = (0.9, 0.7, 0.5)
    limited = one(0, 0.8, losses=falling, reason=f"{LIMIT}gap/loss is 0.6")
    assert "still improved" in found(summary_of([one(0, 0.8, losses=falling)]), Rule.LENGTH).sentence
    assert "no trial reached its end" in found(summary_of([limited]), Rule.LENGTH).sentence


def test_large_gap_asks_for_more_rows() -> None:
    large = found(summary_of([one(0, 0.8, gap=0.2)]), Rule.MORE_ROWS)
    assert large.sentence.startswith("More training rows may help: the winner's overfit gap +0.2000 is 40 % of its")
    small = found(summary_of([one(0, 0.8, gap=0.05)]), Rule.MORE_ROWS)
    assert small.sentence.startswith("More training rows: no sign of a gain; ")
    ended = [one(0, 0.8), one(1, 0.7, reason=f"{OVERFITTING}val/loss rose")]
    exits = found(summary_of(ended), Rule.MORE_ROWS)
    assert exits.sentence.startswith("More training rows may help: ")
    assert exits.numbers["overfitting"] == 1
    bare = trial(0, {}, (report(0, 100, 1e9, val__accuracy=0.8),))
    assert not found(summary_of([bare]), Rule.MORE_ROWS).known


def test_small_gap_asks_for_larger_model() -> None:
    finding = found(summary_of([one(0, 0.8, gap=0.01)]), Rule.LARGER_MODEL)
    assert "the winner fits training rows (loss 0.489) no better than validation rows (0.499)" in finding.sentence
    assert finding.sentence.startswith("A larger base model or a higher rank may help")
    full = found(summary_of([one(0, 0.8, gap=0.01, params={"method": "full"})]), Rule.LARGER_MODEL)
    assert full.sentence.startswith("A larger base model may help")
    still_falling = summary_of([one(0, 0.8, gap=0.01, losses=(0.6, 0.5, 0.4))])
    assert Rule.LARGER_MODEL not in {each.rule for each in explain(still_falling)}


def test_page_has_all_findings() -> None:
    summary = summary_of(trials([0.8, 0.7]))
    page = render_page(summary, {})
    assert "<h2>What this sweep shows</h2>" in page
    for finding in explain(summary):
        assert f">{finding.sentence.replace(chr(39), '&#39;')}</dd>" in page
