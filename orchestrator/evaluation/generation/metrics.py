"""Metrics of generated answers against one reference each; a higher value is better.

| metric | range | definition |
|---|---|---|
| ``rouge_1``, ``rouge_2`` | 0 to 1 | F1 of the common words, or pairs of words; mean over the rows |
| ``rouge_l`` | 0 to 1 | F1 of the longest common subsequence of words; mean over the rows |
| ``bleu`` | 0 to 100 | sacreBLEU over all rows, with its defaults (``13a``, exponential smoothing) |
| ``chrf`` | 0 to 100 | sacreBLEU's chrF2 of each row (6-grams of characters); mean over the rows |
| ``exact_match`` | 0 to 1 | share of answers equal to the reference, after NFKC and with single spaces |

ROUGE is Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", with the words of ``tokens``. If at least
half of the references' letters are in scripts without spaces between words, BLEU counts characters (``char``).
``core.tasks.generation.GENERATION_METRICS`` lists the names.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from orchestrator.evaluation.generation.tokens import mostly_unspaced, tokens


def row_scores(answers: Sequence[str], references: Sequence[str]) -> dict[str, list[float]]:
    """Return the values of each row, for all metrics but ``bleu``; a metric is the mean of its values."""
    from sacrebleu.metrics.chrf import CHRF

    chrf, scores = CHRF(), dict[str, list[float]]()
    for answer, reference in zip(answers, references, strict=True):
        words, wanted = tokens(answer), tokens(reference)
        row = {
            "rouge_1": rouge_n(words, wanted, 1),
            "rouge_2": rouge_n(words, wanted, 2),
            "rouge_l": rouge_l(words, wanted),
            "chrf": float(chrf.sentence_score(answer, [reference]).score),
            "exact_match": float(_plain(answer) == _plain(reference)),
        }
        for name, value in row.items():
            scores.setdefault(name, []).append(value)
    return scores


def bleu(answers: Sequence[str], references: Sequence[str]) -> float:
    """Return sacreBLEU over all rows."""
    from sacrebleu.metrics.bleu import BLEU

    tokenizer = "char" if mostly_unspaced(references) else "13a"
    return float(BLEU(tokenize=tokenizer).corpus_score([*answers], [[*references]]).score)


def rouge_n(answer: Sequence[str], reference: Sequence[str], size: int) -> float:
    """Return the F1 of the common n-grams, counted with their repetitions; 0 without any."""
    ours, theirs = (Counter(zip(*(words[at:] for at in range(size)), strict=False)) for words in (answer, reference))
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """Return the F1 of the longest common subsequence; 0 without any."""
    lengths = [0] * (len(reference) + 1)
    for word in answer:
        diagonal = 0
        for place, other in enumerate(reference, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return _f1(lengths[-1], len(answer), len(reference))


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())
