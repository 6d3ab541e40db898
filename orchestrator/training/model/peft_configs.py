"""The PEFT configuration of a new adapter, from a trial's settings; one function per method."""

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
    """Returns the configuration of one method, given the arguments common to all configurations."""

_TASK_TYPES = {
    Head.SEQUENCE_CLASSIFICATION: "SEQ_CLS",
    Head.TOKEN_CLASSIFICATION: "TOKEN_CLS",
    Head.QUESTION_ANSWERING: "QUESTION_ANS",
    Head.CAUSAL_LM: "CAUSAL_LM",
    Head.SEQ2SEQ_LM: "SEQ_2_SEQ_LM",
}
_ALL_LINEAR = "all-linear"


def peft_config(base: Base, settings: TrialSettings, head: Head) -> "PeftConfig":
    """Return the PEFT configuration of an adapter.

    The head of a classifier, and modules without weights in the model's files (the pooler of some encoders), are
    trained in full and saved with the adapter. Otherwise they would be random again after loading. They get no adapter.

    Raises:
        UserError: a name in ``target_modules`` does not exist in the model, or the regular expression matches none.
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
    """Return the targets for peft: ``all-linear``, a regular expression, or a list of names.

    Names consist of letters, digits, ``_``, ``-`` and ``.``; a value with another character is a regular expression.
    """
    given = settings.target_modules.strip()
    if given == _ALL_LINEAR or not re.fullmatch(r"[\w.,\s-]*", given):
        return given
    return [name.strip() for name in given.split(",") if name.strip()]


def _require_modules(base: Base, targets: str | Sequence[str]) -> None:
    """Raise ``UserError`` for targets without a module: peft ignores such a name beside a valid one."""
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
    """Return the paths of the modules matched by a name or a regular expression, by peft's rules.

    Raises:
        UserError: the regular expression is not valid.
    """
    names = [name for name, _ in base.model.named_modules() if name]
    if not pattern:
        return [name for name in names if f".{name}".endswith(f".{target}")]
    try:
        return [name for name in names if re.fullmatch(target, name)]
    except re.error as error:
        raise UserError(f"target_modules: not a regular expression, {error}; got {target}") from error


def _linear(base: Base) -> list[str]:
    """Return the names of the linear layers."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return [name for name, module in base.model.named_modules() if isinstance(module, Linear | Conv1D)]


def _lora(_: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    from peft import EvaConfig, LoraConfig
    from peft.tuners.lora import LoraGAConfig

    alpha: Any = settings.alpha  # typed as an integer by peft, but any number works
    init: Any = True if settings.init == "default" else settings.init
    return LoraConfig(
        **common,
        r=settings.rank,
        lora_alpha=alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=init,
        eva_config=EvaConfig() if init == "eva" else None,
        lora_ga_config=LoraGAConfig() if init == "lora_ga" else None,
        exclude_modules=common["modules_to_save"],
    )


def _ia3(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of IA3: one factor per output of a layer, or per input of a feed-forward layer.

    The paper (arXiv 2205.05638) multiplies keys, values and the hidden vector of a feed-forward block, which is the
    input of the block's last layer. peft knows the name of this layer for many models; in other models the outputs are
    multiplied instead.
    """
    from peft import IA3Config

    return IA3Config(**common, feedforward_modules=_feedforward(base, _targets(settings)))


def _feedforward(base: Base, targets: str | Sequence[str]) -> list[str]:
    """Return the targets at the end of a feed-forward block; peft requires them to be among the targets."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING

    if targets == _ALL_LINEAR:
        # peft's table has endings of names, and the output layer of attention may have the same ending.
        targets = [name for name in _linear(base) if "attention" not in name]
    elif isinstance(targets, str):
        targets = _matched(base, targets, pattern=True)
    endings = TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING.get(base.model.config.model_type, [])
    return [name for name in targets if any(f".{name}".endswith(f".{end}") for end in endings)]


def _loha(_: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    from peft import LoHaConfig

    alpha: Any = settings.alpha  # as in LoRA
    return LoHaConfig(**common, r=settings.rank, alpha=alpha)


def _lokr(_: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    from peft import LoKrConfig

    alpha: Any = settings.alpha  # as in LoRA
    return LoKrConfig(**common, r=settings.rank, alpha=alpha)


def _vera(_: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of VeRA; its random matrices are shared by all trials, and saved with each adapter."""
    from peft import VeraConfig

    return VeraConfig(**common, r=settings.rank, vera_dropout=settings.dropout, save_projection=True)


_METHODS: "dict[str, Configure]" = {"lora": _lora, "ia3": _ia3, "loha": _loha, "lokr": _lokr, "vera": _vera}
