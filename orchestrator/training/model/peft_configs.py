"""peft's configuration of a new adapter, from a trial's settings; one function for each method."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.core.errors import UserError
from orchestrator.core.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.model.base_model import Base
from orchestrator.training.model.heads import modules_to_save

if TYPE_CHECKING:
    from peft import PeftConfig

    Configure: TypeAlias = Callable[[Base, TrialSettings, dict[str, Any]], PeftConfig]
    """Adds what a method has of its own to what all of peft's configurations take."""

_TASK_TYPES = {
    Head.SEQUENCE_CLASSIFICATION: "SEQ_CLS",
    Head.CAUSAL_LM: "CAUSAL_LM",
    Head.SEQ2SEQ_LM: "SEQ_2_SEQ_LM",
}
_ALL_LINEAR = "all-linear"


def peft_config(base: Base, settings: TrialSettings, head: Head) -> "PeftConfig":
    """Return peft's configuration of an adapter.

    A classifier's head is trained in full and saved with the adapter, and so is what the base's files do not hold (in
    some encoders the pooler), or whoever loads it would get other random values there. Such modules get no adapter.

    Raises:
        UserError: the model has no module of a name in ``target_modules``, or none that its regular expression matches.
    """
    full = modules_to_save(base, head)
    targets = _targets(settings)
    _require_modules(base, targets)
    common = {
        "task_type": _TASK_TYPES[head],
        "target_modules": targets,
        "modules_to_save": full or None,
        "revision": base.revision,
    }
    return _METHODS[settings.method](base, settings, common)


def _targets(settings: TrialSettings) -> str | list[str]:
    """Return the targets as peft takes them: ``all-linear``, a regular expression, or a list of names.

    Names hold letters, digits, ``_``, ``-`` and ``.``; whatever holds another character is a regular expression.
    """
    given = settings.target_modules.strip()
    if given == _ALL_LINEAR or not re.fullmatch(r"[\w.,\s-]*", given):
        return given
    return [name.strip() for name in given.split(",") if name.strip()]


def _require_modules(base: Base, targets: str | Sequence[str]) -> None:
    """Raise ``UserError`` for targets that are no module: peft passes over such a name where another is a module."""
    if targets == _ALL_LINEAR:
        return
    if isinstance(targets, str):
        if not _matched(base, targets, pattern=True):
            example = next(iter(_linear(base)), "none")
            raise UserError(
                f"target_modules: the regular expression matches the whole path of no module, such as {example}; "
                f"got {targets}"
            )
        return
    unknown = [target for target in targets if not _matched(base, target, pattern=False)]
    if unknown or not targets:
        known = dict.fromkeys(name.rpartition(".")[2] for name in _linear(base))
        rule = f"{_ALL_LINEAR} or names of the model's modules are needed: {', '.join(known)}"
        raise UserError(f"target_modules: {rule}; got {', '.join(unknown) or 'nothing'}")


def _matched(base: Base, target: str, *, pattern: bool) -> list[str]:
    """Return the paths of the modules that a name or a regular expression is for, as peft compares them.

    Raises:
        UserError: it is no regular expression.
    """
    names = [name for name, _ in base.model.named_modules() if name]
    if not pattern:
        return [name for name in names if f".{name}".endswith(f".{target}")]
    try:
        return [name for name in names if re.fullmatch(target, name)]
    except re.error as error:
        raise UserError(f"target_modules: not a regular expression, {error}; got {target}") from error


def _linear(base: Base) -> list[str]:
    """Return the names of the modules that are linear layers."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return [name for name, module in base.model.named_modules() if isinstance(module, Linear | Conv1D)]


def _lora(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":  # noqa: ARG001
    from peft import LoraConfig

    alpha: Any = settings.alpha  # peft types alpha as an integer and computes with any number
    init: Any = True if settings.init == "default" else settings.init
    return LoraConfig(
        **common,
        r=settings.rank,
        lora_alpha=alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=init,
        exclude_modules=common["modules_to_save"],
    )


def _ia3(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of IA3: one factor for each output of a layer, or for each of its inputs.

    The paper (arXiv 2205.05638) multiplies keys, values and what a feed-forward block has computed inside; the last
    are the inputs of the layer that leads out of the block. peft knows that layer's name for many models; where it
    does not, outputs are multiplied there too.
    """
    from peft import IA3Config

    return IA3Config(**common, feedforward_modules=_feedforward(base, _targets(settings)))


def _feedforward(base: Base, targets: str | Sequence[str]) -> list[str]:
    """Return the targets that lead out of a feed-forward block; peft asks for names that stand among the targets."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING

    if targets == _ALL_LINEAR:
        # peft's table holds ends of names, and attention's own output may have the same end.
        targets = [name for name in _linear(base) if "attention" not in name]
    elif isinstance(targets, str):
        targets = _matched(base, targets, pattern=True)
    ends = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(base.model.config.model_type, [])
    return [name for name in targets if any(f".{name}".endswith(f".{end}") for end in ends)]


def _loha(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":  # noqa: ARG001
    from peft import LoHaConfig

    alpha: Any = settings.alpha  # as in LoRA
    return LoHaConfig(**common, r=settings.rank, alpha=alpha)


def _lokr(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":  # noqa: ARG001
    from peft import LoKrConfig

    alpha: Any = settings.alpha  # as in LoRA
    return LoKrConfig(**common, r=settings.rank, alpha=alpha)


def _vera(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":  # noqa: ARG001
    """Return a configuration of VeRA; its random matrices are the same for all trials, and saved with each adapter."""
    from peft import VeraConfig

    return VeraConfig(**common, r=settings.rank, vera_dropout=settings.dropout, save_projection=True)


_METHODS: "dict[str, Configure]" = {"lora": _lora, "ia3": _ia3, "loha": _loha, "lokr": _lokr, "vera": _vera}
