"""The settings of a trial: adapter, optimizer, schedule and data."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import LORA, METHODS, OPTIONS, Option
from orchestrator.core.methods.inits import INITS
from orchestrator.core.space import ParamValue
from orchestrator.core.tasks.class_weights import NONE, weights_problem
from orchestrator.core.tasks.preference import PreferenceLossName

LEAST = 1e-30
"""Minimum of the numbers above zero: float32 represents it and its square root without loss."""
MOST_OF_SETTING = 5000
"""Maximum number of characters of a text; MLflow keeps 6,000 of a parameter."""


class Group(enum.StrEnum):
    """Section of the sweep file in which a setting is fixed."""

    ADAPTER = "adapter"
    TRAINING = "training"
    DATA = "data"
    PREFERENCE = "preference"


def _setting(
    default: ParamValue,
    group: Group,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    choices: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401  (dataclasses.field is typed as the field's own type)
    rule = {"group": group, "doc": doc, "low": low, "high": high, "open_low": open_low, "choices": choices}
    return field(default=default, metadata=rule)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSettings:
    """The settings of one trial. The sweep file may fix or search every field.

    The metadata of each field holds its group, range and effect, the source of the sweep file's schema, its error
    messages and the JSON Schema. ``options`` are the options of the method; a list or a mapping is written as JSON.
    ``values`` are the parameters of a function, by any names, and the other fields have no meaning then.

    Raises:
        UserError: a value is outside its range; the message names the setting, the rule and the value.
    """

    method: str = _setting(
        LORA,
        Group.ADAPTER,
        "method; lora is packed, the solo engine trains the others",
        choices=tuple(METHODS),
    )
    rank: int = _setting(
        16, Group.ADAPTER, "rank r of lora and other methods: the width of the update", low=1, high=1024
    )
    alpha: float = _setting(
        32.0,
        Group.ADAPTER,
        "alpha of lora and other methods; the update is scaled by alpha / r",
        low=0,
        open_low=True,
        high=1e38,  # near the limit of float32; a trial with too large a scale diverges
    )
    rslora: bool = _setting(False, Group.ADAPTER, "scale by alpha / sqrt(r) instead (rank-stabilised LoRA)")
    dora: bool = _setting(
        False, Group.ADAPTER, "DoRA: learn the length of each weight's rows apart from their direction"
    )
    dropout: float = _setting(0.0, Group.ADAPTER, "dropout on the input of lora and other methods", low=0, high=0.95)
    target_modules: str = _setting(
        "all-linear",
        Group.ADAPTER,
        "modules with an adapter: all-linear, names separated by commas, or a regular expression of whole paths",
    )
    init: str = _setting(
        "default",
        Group.ADAPTER,
        "initial values of LoRA's A and B: default (B = 0), gaussian, orthogonal, pissa, "
        "pissa_niter_N, olora, eva, lora_ga, corda, mica or loftq",
        choices=tuple(INITS),
    )
    epochs: float = _setting(
        1.0,
        Group.TRAINING,
        "passes over the training rows, or a fraction; if neither fixed nor searched, enough for 256 optimizer steps",
        low=0,
        open_low=True,
        high=1000,
    )
    learning_rate: float = _setting(2e-4, Group.TRAINING, "peak learning rate of AdamW", low=0, open_low=True, high=10)
    head_learning_rate: float | None = _setting(
        None,
        Group.TRAINING,
        "learning rate of the task head; the adapter's own if absent",
        low=0,
        open_low=True,
        high=10,
    )
    lora_plus_ratio: float | None = _setting(
        None, Group.TRAINING, "LoRA+: the learning rate of B over that of A; 1 if absent", low=1, high=1000
    )
    weight_decay: float = _setting(0.0, Group.TRAINING, "decoupled weight decay", low=0, high=10)
    beta1: float = _setting(0.9, Group.TRAINING, "AdamW's first-moment decay", low=0, high=0.9999)
    beta2: float = _setting(0.999, Group.TRAINING, "AdamW's second-moment decay", low=0, high=0.999999)
    epsilon: float = _setting(1e-8, Group.TRAINING, "AdamW's epsilon", low=0, open_low=True, high=1)
    max_grad_norm: float = _setting(
        1.0, Group.TRAINING, "maximum gradient norm; larger gradients are clipped", low=0, open_low=True, high=1e30
    )
    schedule: str = _setting(
        "linear",
        Group.TRAINING,
        "learning rate after the warm-up: linear or cosine to zero, constant, or wsd: constant, then linear to zero",
        choices=("linear", "cosine", "constant", "wsd"),
    )
    decay_ratio: float = _setting(
        0.2, Group.TRAINING, "share of the steps with a falling rate, at the end of schedule wsd", low=0, high=1
    )
    warmup_ratio: float = _setting(0.0, Group.TRAINING, "share of the steps with a rising rate", low=0, high=1)
    batch_size: int = _setting(16, Group.TRAINING, "rows per forward pass", low=1, high=65536)
    accumulation: int = _setting(1, Group.TRAINING, "forward passes per optimizer step", low=1, high=65536)
    label_smoothing: float = _setting(0.0, Group.TRAINING, "label smoothing of the training loss", low=0, high=0.9)
    class_weights: str = _setting(
        NONE,
        Group.TRAINING,
        "weights of the classes in the training loss: none, balanced (by their training rows), or a mapping of classes "
        "to weights",
    )
    max_length: int = _setting(128, Group.DATA, "maximum number of tokens of a row", low=2, high=1_048_576)
    train_fraction: float = _setting(1.0, Group.DATA, "share of the training rows in use", low=0, open_low=True, high=1)
    loss: str = _setting(
        PreferenceLossName.DPO.value,
        Group.PREFERENCE,
        "loss over pairs of answers: dpo, dpo_norm (log-ratios per token), ipo; simpo and orpo, without a reference",
        choices=tuple(PreferenceLossName),
    )
    beta: float = _setting(
        0.1,
        Group.PREFERENCE,
        "strength of the preference; usual: dpo 0.05 to 0.5, dpo_norm 1 to 10, ipo 0.05 to 1, simpo 2 to 10, orpo 0.1",
        low=0,
        open_low=True,
        high=1000,
    )
    gamma: float = _setting(0.5, Group.PREFERENCE, "margin of simpo between the two rewards", low=0, high=1000)
    options: Mapping[str, ParamValue] = field(default_factory=dict, hash=False)
    values: Mapping[str, ParamValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, rule in SETTING_RULES.items():
            problem = rule.problem(getattr(self, name))
            if problem:
                raise UserError(f"{name}: {problem}")

    @property
    def rows_per_update(self) -> int:
        """Number of rows of one optimizer step."""
        return self.batch_size * self.accumulation

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "TrialSettings":
        """Return the default settings, replaced by ``params``; an unknown name raises ``UserError``.

        Options of the method are named ``options.NAME``.
        """
        unknown = sorted(set(params) - set(RULES) - {"values"})
        if unknown:
            raise UserError(f"unknown settings: {', '.join(unknown)}")
        own = {name: value for name, value in params.items() if not name.startswith(OPTIONS)}
        options = {name.removeprefix(OPTIONS): value for name, value in params.items() if name.startswith(OPTIONS)}
        return cls(**own, options=options)

    def to_json(self) -> dict[str, Any]:
        """Return the settings for ``from_params``, without ``values`` if there are none."""
        stored = {name: value for name, value in asdict(self).items() if value or name != "values"}
        return stored | {f"{OPTIONS}{name}": value for name, value in stored.pop("options").items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingRule:
    """The rule of one setting: its type, range or choices, and its group. The kind ``object`` accepts every scalar."""

    name: str
    kind: type
    optional: bool
    default: ParamValue
    group: Group
    doc: str
    low: float | None
    high: float | None
    open_low: bool
    choices: tuple[str, ...]

    @property
    def weights(self) -> bool:
        """Whether this is the setting of class weights, also written as a mapping."""
        return self.name == "class_weights"

    @property
    def path(self) -> tuple[str, ...]:
        """The key path of the fixed setting in the sweep file."""
        return (str(self.group), *self.name.split(".", 1))

    def problem(self, value: object) -> str | None:
        """Return the broken rule and the value as one phrase, or None if ``value`` is valid."""
        if self.kind is object:
            return self._text_problem(value) if isinstance(value, str) else None
        if value is None:
            return None if self.optional else f"{_KINDS[self.kind]} is needed, got null"
        accepted = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.kind is not bool):
            listed = self.kind is str and not self.choices and isinstance(value, list)
            needed = "one text, with commas between names," if listed else _KINDS[self.kind]
            return f"{needed} is needed, got {value!r}"
        if isinstance(value, str):
            return self._text_problem(value)
        return self._number_problem(value) if isinstance(value, int | float) else None

    def _text_problem(self, value: str) -> str | None:
        if len(value) > MOST_OF_SETTING:
            return f"a text of at most {MOST_OF_SETTING:,} characters is needed, got {len(value):,}"
        if self.weights:
            return weights_problem(value)
        if self.choices and value not in self.choices:
            return f"one of {', '.join(self.choices)} is needed, got {value!r}"
        return None

    def _number_problem(self, value: float) -> str | None:
        if self.low is not None and not (value > self.low if self.open_low else value >= self.low):
            return f"a value {'>' if self.open_low else '>='} {self.low:g} is needed, got {value!r}"
        if self.open_low and value < LEAST:
            return f"a value >= {LEAST:g} is needed, got {value!r}"
        if self.high is not None and not value <= self.high:
            return f"a value <= {self.high:g} is needed, got {value!r}"
        return None


_KINDS = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}


def _rules() -> dict[str, SettingRule]:
    kinds: dict[object, tuple[type, bool]] = {
        int: (int, False),
        float: (float, False),
        str: (str, False),
        bool: (bool, False),
        float | None: (float, True),
    }
    rules = {}
    for item in fields(TrialSettings):
        if item.name in ("options", "values"):
            continue
        kind, optional = kinds[item.type]
        rules[item.name] = SettingRule(
            name=item.name, kind=kind, optional=optional, default=cast("ParamValue", item.default), **item.metadata
        )
    return rules


def _option_rules() -> dict[str, SettingRule]:
    """Return a rule for each option of a method. Its kind is ``object`` if methods or peft's types differ in it."""
    options: dict[str, list[Option]] = {}
    for method in METHODS.values():
        for name, option in method.options.items():
            options.setdefault(name, []).append(option)
    return {f"{OPTIONS}{name}": _option_rule(f"{OPTIONS}{name}", same) for name, same in options.items()}


def _option_rule(name: str, same: Sequence[Option]) -> SettingRule:
    kinds = {kind for option in same for kind in option.kinds}
    kind = _OPTION_KINDS.get(kinds.pop(), object) if len(kinds) == 1 else object
    return SettingRule(
        name=name,
        kind=kind,
        optional=True,
        default=None,
        group=Group.ADAPTER,
        doc="",
        low=None,
        high=None,
        open_low=False,
        choices=(),
    )


_OPTION_KINDS: dict[str, type] = {"integer": int, "number": float, "boolean": bool, "text": str}

SETTING_RULES: dict[str, SettingRule] = _rules()
"""One rule per setting, by name, without the options of methods."""
RULES: dict[str, SettingRule] = SETTING_RULES | _option_rules()
"""One rule per setting and per option of a method, by name. None is peft's default of an option."""
