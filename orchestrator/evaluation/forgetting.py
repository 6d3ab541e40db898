"""Forgetting: how much an adapter changes the base model on general text, which the task does not use.

Both measures compare the model with and without the adapter on the same texts, one text in a forward:

* a causal model by its loss as a language model (as continual fine-tuning does, Luo et al. 2023, arXiv 2308.08747);
* any other model by the similarities between the texts, as representational similarity analysis does (Kriegeskorte et
  al. 2008, doi:10.3389/neuro.06.004.2008; for fine-tuned BERT: Merchant et al. 2020, arXiv 2004.14448). A text is the
  mean of the last hidden states of its tokens.

Shapes: R texts, T tokens, H hidden units, V vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LoratoryError, UserError
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.objective.protocol import Head

if TYPE_CHECKING:
    import torch

GENERAL = "general"
"""Name of the general text in ``Engine.measure``."""
TEXTS = 200
"""Most texts measured: 200 texts have 19,900 similarities."""
GROUPS = 40
"""Most groups of texts for the interval of the drift."""
TOKENS = 64
"""Most tokens of a text, whatever the task's ``max_length``."""
PREFIX = "forgetting/"
"""Prefix of the metrics of forgetting: 0 for an adapter without effect on general text, larger is worse."""
DRIFT, LOSS, GENERAL_LOSS = f"{PREFIX}similarity", f"{PREFIX}loss", "general/loss"


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """A model's behaviour on general text: ``loss`` of a causal model, else ``vectors`` of the texts.

    Attributes:
        losses: summed loss of the predicted tokens of each text, in nats.
        tokens: number of predicted tokens of each text.
        vectors: one vector per text, shape (R, H).
    """

    losses: tuple[float, ...] = ()
    tokens: tuple[float, ...] = ()
    vectors: NDArray[np.float64] | None = None

    @property
    def loss(self) -> float | None:
        """Mean loss of a predicted token, in nats; None: not a causal model."""
        return sum(self.losses) / sum(self.tokens) if self.tokens else None


def check_names(names: Iterable[str], head: Head, section: str = "search") -> None:
    """Check that a model with this head has the metrics of forgetting which a section of the sweep file names.

    Raises:
        UserError: it has another one.
    """
    measured = LOSS if head is Head.CAUSAL_LM else DRIFT
    for name in names:
        if name.startswith(PREFIX) and name != measured:
            raise UserError(f"{section}: {measured} is measured for this base model, got {name}")


def behaviour(model: "torch.nn.Module", head: Head, texts: Sequence[Sequence[int]]) -> Behaviour:
    """Return a model's behaviour on general text, in eval mode; the training mode is restored.

    Args:
        model: a transformers model, or a PEFT model over one.
        head: its head.
        texts: token ids of each text; not empty.

    Raises:
        LoratoryError: the model returns no hidden states, or no text has a token to predict.
    """
    import torch

    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        with torch.inference_mode():
            rows = [torch.tensor([ids], device=device) for ids in texts]
            if head is Head.CAUSAL_LM:
                return _losses(model, [row for row in rows if row.shape[1] > 1])
            return Behaviour(vectors=np.stack([_vector(model, head, row).double().cpu().numpy() for row in rows]))
    finally:
        model.train(training)


def forgetting(before: Behaviour, after: Behaviour) -> Mapping[str, float]:
    """Return the metrics of forgetting.

    ``forgetting/loss`` is the rise of the loss in nats per token, and ``general/loss`` the loss with the adapter.
    ``forgetting/similarity`` is described at ``drift``.
    """
    if before.loss is not None and after.loss is not None:
        return {LOSS: after.loss - before.loss, GENERAL_LOSS: after.loss}
    assert before.vectors is not None, "both behaviours are of one kind"
    assert after.vectors is not None, "both behaviours are of one kind"
    return {DRIFT: drift(before.vectors, after.vectors)}


def forgetting_rows(before: Behaviour, after: Behaviour) -> RowMeasures:
    """Return the values of each text, for the interval of a metric of forgetting.

    For a causal model these are the rise of the summed loss of each text and the number of its predicted tokens. For
    another model the score ``forgetting/similarity`` has jackknife values of the drift, one for each of 40 groups of
    texts (all texts if they are fewer), and there are no losses. Leaving out groups gives the same variance with fewer
    degrees of freedom (Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17).
    """
    from orchestrator.statistics.resampling import jackknife_values

    if before.tokens:
        rises = tuple(late - early for early, late in zip(before.losses, after.losses, strict=True))
        return RowMeasures(losses=rises, units=before.tokens)
    before_RH, after_RH = before.vectors, after.vectors
    assert before_RH is not None, "both behaviours are of one kind"
    assert after_RH is not None, "both behaviours are of one kind"
    texts, groups = len(before_RH), min(len(before_RH), GROUPS)
    if texts < 4:  # a text less leaves no order of similarities
        return RowMeasures(losses=(), units=())
    before_RR, after_RR, group_R = _cosines(before_RH), _cosines(after_RH), np.arange(texts) % groups

    def drift_of(kept_groups: NDArray[np.int64]) -> float:
        kept = np.flatnonzero(np.isin(group_R, kept_groups))
        return _drift(before_RR[np.ix_(kept, kept)], after_RR[np.ix_(kept, kept)])

    values = tuple(map(float, jackknife_values(drift_of, groups)))
    return RowMeasures(losses=(), units=(1.0,) * texts, scores={DRIFT: values})


def drift(before_RH: NDArray[np.float64], after_RH: NDArray[np.float64]) -> float:
    """Return 1 − Spearman's correlation between the cosine similarities of all pairs of texts.

    0: the texts keep the order of their similarities. 1: the order is lost, also if all similarities are equal.

    Args:
        before_RH: the texts' vectors without the adapter, at least three texts.
        after_RH: with it.
    """
    return _drift(_cosines(before_RH), _cosines(after_RH))


def _drift(before_RR: NDArray[np.float64], after_RR: NDArray[np.float64]) -> float:
    """Return the drift from the similarities of all texts."""
    from scipy.stats import rankdata

    pairs = np.tri(len(before_RR), k=-1, dtype=bool)
    before, after = before_RR[pairs], after_RR[pairs]
    if np.ptp(after) == 0 or np.ptp(before) == 0:
        return 1.0
    return float(1 - np.corrcoef(rankdata(before), rankdata(after))[0, 1])


def _cosines(vectors_RH: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths_R1 = np.linalg.norm(vectors_RH, axis=1, keepdims=True)
    units_RH = vectors_RH / np.maximum(lengths_R1, np.finfo(np.float64).tiny)
    cosines_RR: NDArray[np.float64] = units_RH @ units_RH.T
    return cosines_RR


def _losses(model: "torch.nn.Module", rows_1T: "Sequence[torch.Tensor]") -> Behaviour:
    from torch.nn.functional import cross_entropy

    if not rows_1T:
        raise LoratoryError("general text: no text has two tokens; name longer texts in data.general")
    losses = []
    for ids_1T in rows_1T:
        logits_TV = model(input_ids=ids_1T, attention_mask=ids_1T.new_ones(ids_1T.shape)).logits[0].float()
        logits_TV = logits_TV[-ids_1T.shape[1] :]  # without the virtual tokens of a prompt
        losses.append(float(cross_entropy(logits_TV[:-1], ids_1T[0, 1:], reduction="sum")))
    return Behaviour(losses=tuple(losses), tokens=tuple(float(ids_1T.shape[1] - 1) for ids_1T in rows_1T))


def _vector(model: Any, head: Head, ids_1T: "torch.Tensor") -> "torch.Tensor":  # noqa: ANN401  (model classes vary)
    """Return the mean of the last hidden states over the tokens; of an encoder-decoder model those of its encoder.

    The virtual tokens of a prompt, in front of the text, do not count.
    """
    given = {"input_ids": ids_1T, "attention_mask": ids_1T.new_ones(ids_1T.shape)}
    if head is Head.SEQ2SEQ_LM:
        hidden_1TH = model.get_encoder()(**given).last_hidden_state
    else:
        states = getattr(model(**given, output_hidden_states=True), "hidden_states", None)
        if not states:
            raise LoratoryError(f"general text: {type(model).__name__} returns no hidden states")
        hidden_1TH = states[-1]
    mean_H: torch.Tensor = hidden_1TH[0, -ids_1T.shape[1] :].float().mean(0)
    return mean_H
