"""The PEFT configuration of a new adapter, from a trial's settings; a function for each method with its own rules."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import ADALORA, FULL, HEAD, LORA, METHODS, VIRTUAL_TOKENS
from orchestrator.core.methods.inits import INITS
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.model.base_model import Base
from orchestrator.training.model.heads import modules_to_save
from orchestrator.training.model.lora_options import lora_options
from orchestrator.training.model.whole import trained_modules

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


def peft_config(base: Base, settings: TrialSettings, head: Head, *, updates: int | None = None) -> "PeftConfig":
    """Return the PEFT configuration of an adapter; ``updates`` is the number of optimizer steps of the trial, if known.

    The head of a classifier, and modules without weights in the model's files (the pooler of some encoders), are
    trained in full and saved with the adapter. Otherwise they would be random again after loading. They get no adapter.

    Raises:
        UserError: a name in ``target_modules`` does not exist in the model, or the regular expression matches none.
    """
    full = trained_modules(base, head) if settings.method == FULL else modules_to_save(base, head)
    targets = _targets(settings)
    _require_modules(base, targets)
    common = {
        "task_type": _TASK_TYPES[head],
        "target_modules": targets,
        "modules_to_save": full or None,
        "revision": base.revision,
        **_options(settings),
    }
    if settings.method == LORA:
        return _lora(base, settings, common, full)
    if settings.method == ADALORA:
        return _adalora(base, settings, common, updates)
    return _METHODS.get(settings.method, _other)(base, settings, common)


def _options(settings: TrialSettings) -> dict[str, Any]:
    """Return the options of the trial's method for peft; None is peft's default, and options of others are left out."""
    known = METHODS[settings.method].options
    given = {name: known[name].decoded(value) for name, value in settings.options.items() if name in known}
    return {name: value for name, value in given.items() if value is not None}


def _other(_: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return the configuration of a method without a function of its own.

    Modules trained in full get no adapter, if the method can exclude modules.

    Raises:
        UserError: a method cannot train the head of a classifier.
    """
    import peft

    method = METHODS[settings.method]
    config: Any = getattr(peft, method.config)
    fields = {field.name for field in dataclasses.fields(config)}
    full = common["modules_to_save"]
    if "modules_to_save" not in fields and (full or common["task_type"] in _HEADED):
        raise UserError("it trains no head, and the head of a new task would stay random")
    given = {name: value for name, value in common.items() if name in fields}
    given |= {field: getattr(settings, setting) for setting, field in method.fields.items()}
    if full and "exclude_modules" in fields and not isinstance(given.get("exclude_modules"), str):
        given["exclude_modules"] = [*given.get("exclude_modules", []), *full]
    return cast("PeftConfig", config(**given))


def _adalora(base: Base, settings: TrialSettings, common: dict[str, Any], updates: int | None) -> "PeftConfig":
    """Return a configuration of AdaLoRA. ``rank`` is the mean rank at the end; it starts with half as many more.

    Raises:
        UserError: it starts with no more ranks than it keeps, or its schedule is longer than the trial.
    """
    started = common.setdefault("init_r", math.ceil(1.5 * settings.rank))
    if started <= settings.rank:
        raise UserError(
            f"init_r: more than rank={settings.rank} is needed, got {started}; "
            "AdaLoRA starts with init_r ranks a layer and keeps a mean of rank"
        )
    first, last = common.get("tinit", 0), common.get("tfinal", 0)
    if updates is not None and first + last >= updates:
        raise UserError(
            f"tinit + tfinal: less than the trial's {updates} optimizer steps is needed, got {first + last}"
        )
    return _other(base, settings, common | {"total_step": updates or _ENDLESS})


_ENDLESS = 10**9


def _prompt(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of virtual tokens.

    Raises:
        UserError: virtual tokens are not supported for the head, or it would not save all modules trained in full.
    """
    if common["task_type"] not in _PROMPTED:
        raise UserError(
            "virtual tokens are supported here for text classifiers and causal language models only; peft would put "
            "them in one part of an encoder-decoder, or mostly lengthen the outputs per token; choose another method"
        )
    if getattr(base.model.config, "is_encoder_decoder", False):
        raise UserError(
            "peft's virtual tokens are embeddings, which a classifier with encoder and decoder does not take"
        )
    unsaved = [name for name in common["modules_to_save"] or () if name in base.fresh_modules]
    if unsaved:
        raise UserError(
            f"it saves only the head, and {', '.join(unsaved)} has no weights in the model's files; it would be "
            "random after loading"
        )
    given = {"num_virtual_tokens": VIRTUAL_TOKENS} | common
    if given.get("prompt_tuning_init") == "TEXT":
        given["tokenizer_name_or_path"] = base.model.name_or_path
    return _other(base, settings, given | {"modules_to_save": None})


def _head(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of the head alone.

    Raises:
        UserError: the model has no head of its own.
    """
    if common["task_type"] not in _HEADED:
        raise UserError("this task has no head of its own; the head of a language model belongs to the base model")
    return _without_layers(base, settings, common)


def _without_layers(_: Base, __: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a LoRA configuration without layers: peft trains and saves copies of the modules trained in full alone."""
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    return LoraConfig(**common | {"target_modules": DUMMY_TARGET_MODULES})


_HEADED = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
_PROMPTED = ("SEQ_CLS", "CAUSAL_LM")
"""In other tasks peft puts virtual tokens in one part of an encoder-decoder alone, or lengthens the logits. The logits
of prefix_tuning keep their length; it was not tried with outputs per token."""


def _ln_tuning(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of LN tuning. ``all-linear`` are its own targets: all norms of the model."""
    if common["target_modules"] == _ALL_LINEAR:
        norms = [name for name, module in base.model.named_modules() if "norm" in type(module).__name__.lower()]
        common = common | {"target_modules": norms}
    return _other(base, settings, common)


def _trainable_tokens(base: Base, settings: TrialSettings, common: dict[str, Any]) -> "PeftConfig":
    """Return a configuration of trainable tokens. ``all-linear`` is the model's own embedding."""
    if common["target_modules"] == _ALL_LINEAR:
        common = common | {"target_modules": None}
    return _other(base, settings, common)


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


def _lora(base: Base, settings: TrialSettings, common: dict[str, Any], full: list[str]) -> "PeftConfig":
    from peft import EvaConfig, LoraConfig
    from peft.tuners.lora import LoraGAConfig
    from peft.tuners.lora.config import CordaConfig

    alpha: Any = settings.alpha  # typed as an integer by peft, but any number works
    # LoftQ replaces A and B of peft's default afterwards.
    init: Any = True if settings.init == "default" or INITS[settings.init].corrects_rounding else settings.init
    if settings.options.get("layers_to_transform") is not None and common["target_modules"] == _ALL_LINEAR:
        # peft combines layer numbers with names only; layers outside the numbered ones get no adapter.
        common = common | {"target_modules": sorted({name.rpartition(".")[2] for name in _linear(base)})}
    return LoraConfig(
        **common | lora_options(base, _options(settings), full),
        r=settings.rank,
        lora_alpha=alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=init,
        eva_config=EvaConfig() if init == "eva" else None,
        lora_ga_config=LoraGAConfig() if init == "lora_ga" else None,
        corda_config=CordaConfig() if init == "corda" else None,
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

    kept = {"save_projection": True} | common
    return VeraConfig(**kept, r=settings.rank, vera_dropout=settings.dropout)


_METHODS: "dict[str, Configure]" = {
    "ia3": _ia3,
    "loha": _loha,
    "lokr": _lokr,
    "vera": _vera,
    "ln_tuning": _ln_tuning,
    "trainable_tokens": _trainable_tokens,
    "prompt_tuning": _prompt,
    "prefix_tuning": _prompt,
    "p_tuning": _prompt,
    HEAD: _head,
    FULL: _without_layers,
}
