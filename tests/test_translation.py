"""Translation from a sweep file to predictions: T5 and a causal model, measured with BLEU and chrF."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.serving.predictor import Predictor
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import locate
from tests.fakes.tiny_models import tiny_llama, tiny_t5

SWEEP = """
name: french
objective: {objective}
model: ./model
data:
  source: ./sentences.csv
  columns: {{text: en, target: fr}}
  train: 160
  validation: 24
  test: 24
  train_eval: 16
  max_length: 24
  prompt: "{prompt}"
adapter: {{method: full}}
training: {{epochs: 16, batch_size: 8, warmup_ratio: 0.1}}
generation: {{rows: 24, every: 1, max_new_tokens: 8}}
search:
  metric: val/chrf
  space: {{learning_rate: {{choices: [1.0e-5, 1.0e-2]}}}}
  start: [{{learning_rate: 1.0e-5}}, {{learning_rate: 1.0e-2}}]
early_stopping: {{rule: none, reports: 1}}
budget: {{trials: 2}}
confirm: none
resources: {{parallel_trials: 1}}
tracking: {{keep_adapters: 2}}
"""
WORDS = {"good": "bon", "bad": "mal", "happy": "gai", "sad": "las", "film": "film", "plot": "jeu", "music": "air"}
VOCAB = ("the", "is", "and", "very", "le", "est", "et", *dict.fromkeys([*WORDS, *WORDS.values()]))


def sentences() -> list[tuple[str, str]]:
    """Return English sentences and their translations, word by word; all differ."""
    nouns, kinds = [*WORDS][4:], [*WORDS][:4]
    pairs = [(noun, one, other, third) for noun in nouns for one in kinds for other in kinds for third in kinds]
    en = [f"the {noun} is {one} and {other} and {third}" for noun, one, other, third in pairs]
    en += [f"the {noun} is very {one} and {other}" for noun in nouns for one in kinds for other in kinds]
    words = {**WORDS, "the": "le", "is": "est", "and": "et", "very": "et"}
    return [(text, " ".join(words[word] for word in text.split())) for text in en]


@pytest.mark.usefixtures("own_stores")
@pytest.mark.parametrize(
    ("objective", "make", "prompt"),
    [("generation_seq2seq", tiny_t5, "{text}"), ("generation", tiny_llama, "{text} :")],
    ids=["t5", "llama"],
)
def test_translation_is_searched_promoted_and_used(
    objective: str, make: Callable[..., Path], prompt: str, tmp_path: Path
) -> None:
    make(tmp_path / "model", vocab=(*VOCAB, ":"))
    rows = sentences()
    (tmp_path / "sentences.csv").write_text("en,fr\n" + "".join(f"{en},{fr}\n" for en, fr in rows))
    (tmp_path / "french.yaml").write_text(SWEEP.format(objective=objective, prompt=prompt))
    spec = read_spec(tmp_path / "french.yaml", ())
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    weak, strong = sorted(done.records, key=lambda record: record.number)
    untuned = done.sweep.facts.baseline or {}
    for metric in ("bleu", "chrf"):
        assert strong.final[f"test/{metric}"] > weak.final[f"test/{metric}"]
        assert strong.final[f"test/{metric}"] > 2 * untuned[f"test/{metric}"]
    stored = stored_sweep("french")
    candidate = stored.candidates().choose()
    assert candidate.trial.number == strong.number
    location = locate(spec.tracking)
    promote(stored.sweep, candidate, location, PromotionRequest(name="french", metric=spec.metric, forced="a test"))
    asked = rows[::7]
    predictions = Predictor.load("french", location).predict([en for en, _ in asked])
    answers, references = [str(one.answer) for one in predictions], [fr for _, fr in asked]
    assert BLEU().corpus_score(answers, [references]).score > 40
    assert CHRF().corpus_score(answers, [references]).score > 60
