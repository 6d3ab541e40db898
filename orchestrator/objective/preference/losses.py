"""Losses over pairs of answers, from the log-probabilities of the two answers.

Tensor names end in their shapes: B pairs, 2 for the preferred (0) and the rejected (1) answer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.tasks.preference import PreferenceLossName

if TYPE_CHECKING:
    import torch

_PER_TOKEN = frozenset(PreferenceLossName) - {PreferenceLossName.DPO}
"""Losses with log-probabilities per token; DPO takes those of whole answers."""
_WITHOUT_REFERENCE = frozenset({PreferenceLossName.SIMPO, PreferenceLossName.ORPO})


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The answers of some pairs, under the trained model and under its frozen base model.

    Attributes:
        logps_B2: log-probability of each answer, in nats, the sum over its tokens.
        reference_B2: the same under the base model.
        tokens_B2: tokens of each answer, at least 1.
    """

    logps_B2: "torch.Tensor"
    reference_B2: "torch.Tensor"
    tokens_B2: "torch.Tensor"

    @property
    def margin_B(self) -> "torch.Tensor":
        """The log-ratio of the preferred answer minus that of the rejected one, in nats; 0 for the base model."""
        return _difference(self.logps_B2 - self.reference_B2)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceLoss:
    """A loss over pairs with its parameters.

    Attributes:
        name: the formula, see ``values``.
        beta: strength of the preference; for ``orpo`` the weight of the odds ratio.
        gamma: margin of ``simpo`` between the answers' rewards.
    """

    name: PreferenceLossName
    beta: float
    gamma: float

    def reward_gap_B(self, answers: Answers) -> "torch.Tensor":
        """Return the reward of the preferred answer minus that of the rejected one, without ``beta``.

        A reward is the log-ratio to the base model (``dpo``), the same per token (``dpo_norm``, ``ipo``), the
        log-probability per token (``simpo``) or the log-odds of the mean token (``orpo``).
        """
        rewards_B2 = answers.logps_B2
        if self.name not in _WITHOUT_REFERENCE:
            rewards_B2 = rewards_B2 - answers.reference_B2
        if self.name in _PER_TOKEN:
            rewards_B2 = rewards_B2 / answers.tokens_B2
        if self.name is PreferenceLossName.ORPO:
            rewards_B2 = rewards_B2 - _log_of_one_minus_exp(rewards_B2)
        return _difference(rewards_B2)

    def values(self, answers: Answers, label_smoothing: float = 0.0) -> "torch.Tensor":
        """Return the loss of each pair, shape (B,).

        With the gap ``h`` of ``reward_gap_B`` and the share ``s`` of wrong preferences, ``label_smoothing``:

        - ``dpo``: −(1 − s) log σ(βh) − s log σ(−βh). Rafailov et al. 2023; with s, cDPO of Mitchell 2023.
        - ``dpo_norm``: the same with log-ratios per token.
        - ``ipo``: (h − 1 / (2β))², per token as in TRL; s is not used. Azar et al. 2023.
        - ``simpo``: as ``dpo`` with h − γ / β, without base model. Meng et al. 2024.
        - ``orpo``: the mean loss of the preferred answer's tokens − β log σ(h); s is not used. Hong et al. 2024.
        """
        import torch

        gap_B = self.reward_gap_B(answers)
        if self.name is PreferenceLossName.IPO:
            return (gap_B - 1 / (2 * self.beta)) ** 2
        log_sigmoid = torch.nn.functional.logsigmoid
        if self.name is PreferenceLossName.ORPO:
            return -(answers.logps_B2 / answers.tokens_B2)[:, 0] - self.beta * log_sigmoid(gap_B)
        target = self.gamma / self.beta if self.name is PreferenceLossName.SIMPO else 0.0
        scaled_B = self.beta * (gap_B - target)
        return -(1 - label_smoothing) * log_sigmoid(scaled_B) - label_smoothing * log_sigmoid(-scaled_B)


def _difference(values_B2: "torch.Tensor") -> "torch.Tensor":
    return values_B2[:, 0] - values_B2[:, 1]


def _log_of_one_minus_exp(logps: "torch.Tensor") -> "torch.Tensor":
    """Return log(1 − exp(x)) for x < 0; x is kept away from 0, where the result is infinite."""
    import torch

    return torch.log(-torch.expm1(logps.clamp(max=-1e-6)))
