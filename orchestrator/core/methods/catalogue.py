"""The methods of fine-tuning: their settings and options, the names of their tensors, their limits.

The method is a setting of a trial like any other. Nothing here knows peft: ``peft_methods.json`` is written from the
installed peft by ``tests/core/peft_table.py``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from orchestrator.core.space import ParamValue

OPTIONS = "options."
"""Start of an option's name as a setting: ``options.oft_block_size``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of a method: a field of peft's configuration class.

    Attributes:
        kinds: the accepted kinds of value: ``integer``, ``number``, ``text``, ``boolean``, ``list``, ``mapping``.
        choices: the accepted texts; empty: any.
        default: peft's default, as JSON.
    """

    kinds: tuple[str, ...]
    choices: tuple[str, ...]
    default: object

    def problem(self, value: ParamValue) -> str | None:
        """Return the broken rule as a phrase, or None; null is peft's default. Texts may hold JSON, see ``decoded``."""
        if value is None:
            return None
        kinds = {kind for kind in self.kinds if isinstance(self.decoded(value), _TYPES[kind])}
        if isinstance(value, bool):
            kinds &= {"boolean"}
        if not kinds:
            return f"{' or '.join(_WORDS[kind] for kind in self.kinds)} is needed"
        if kinds == {"text"} and self.choices and value not in self.choices:
            return f"one of {', '.join(self.choices)} is needed"
        return None

    def decoded(self, value: ParamValue) -> object:
        """Return the value for peft. A text with a JSON list or mapping is decoded if the option accepts one."""
        if isinstance(value, str) and value[:1] in ("[", "{") and {"list", "mapping"} & {*self.kinds}:
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value


def as_param(value: object) -> ParamValue:
    """Return an option's value as a parameter: a list or a mapping as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value)


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "text": str,
    "list": list,
    "mapping": dict,
}
_WORDS: Mapping[str, str] = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "text": "a text",
    "list": "a list",
    "mapping": "a mapping",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One method.

    Attributes:
        settings: the settings used by this method but not by all methods.
        config: peft's configuration class.
        prefix: text found in the names of all its tensors, and in no other parameter's name.
        over_4_bits: whether it works on 4-bit layers.
        fields: peft's field of each setting under another name: ``{"rank": "r"}``.
        options: its options by name, without the fields owned by settings and by the product.
        merges: whether its adapter can be merged into the weights of the base model.
        is_prompt: whether it trains virtual tokens in front of each row.
        adapts_layers: whether it changes layers, chosen by ``target_modules``.
        needed: the options without a default.
        decays: whether zero is the neutral value of its tensors, so that weight decay leads back to the base model.
        with_deepspeed: whether it was tried with DeepSpeed.
    """

    settings: frozenset[str]
    config: str
    prefix: str
    over_4_bits: bool
    fields: Mapping[str, str]
    options: Mapping[str, Option]
    merges: bool
    is_prompt: bool
    adapts_layers: bool
    needed: tuple[str, ...]
    decays: bool
    with_deepspeed: bool


LORA = "lora"
"""The default method, and the only one for packs."""
ADALORA = "adalora"
SCHEDULE = ("tinit", "tfinal")
"""The options of AdaLoRA in optimizer steps; together they are shorter than a trial."""
LENGTH = ("epochs", "batch_size", "accumulation")
"""The settings that decide the number of optimizer steps of a trial."""
HEAD = "head"
"""Trains the head of a classifier alone: the reference for what an adapter adds."""
FULL = "full"
"""Trains all weights of the model: full fine-tuning, the reference beside adapters."""
FULL_RATE = 0.1
"""The best learning rate of full fine-tuning as a fraction of LoRA's ("LoRA Without Regret", Schulman et al. 2025)."""
VIRTUAL_TOKENS = 20
"""Number of virtual tokens of a prompt if ``num_virtual_tokens`` is absent; peft has no default."""

OWNED: Mapping[str, str] = {
    "task_type": "the objective decides it",
    "peft_type": "adapter.method decides it",
    "target_modules": "write adapter.target_modules",
    "feedforward_modules": "they follow from adapter.target_modules",
    "modules_to_save": "the objective's head decides it",
    "revision": "write it with the model",
    "base_model_name_or_path": "write model",
    "auto_mapping": "peft sets it",
    "peft_version": "peft sets it",
    "inference_mode": "peft sets it",
    "fan_in_fan_out": "peft sets it from the model",
    "token_dim": "peft reads it from the model",
    "num_transformer_submodules": "peft reads it from the model",
    "num_attention_heads": "peft reads it from the model",
    "num_layers": "peft reads it from the model",
    "total_step": "the length of the trial decides it",
    "tokenizer_name_or_path": "the model's own tokenizer is used",
    "generator_seed": "the trial's seed decides the draws, and a checkpoint holds them",
}
"""Fields of peft's configuration classes that are no options, and the reason or the remedy."""
_ADALORA_OPTIONS = frozenset({
    "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "bias", "exclude_modules",
    "layers_to_transform", "layers_pattern",
})  # fmt: skip
"""The other fields are LoRA's, and AdaLoRA ignores or refuses them."""
_LORA_OPTIONS = frozenset({
    "rank_pattern", "alpha_pattern", "bias", "layers_to_transform", "layers_pattern", "exclude_modules",
    "target_parameters", "trainable_token_indices", "ensure_weight_tying",
})  # fmt: skip
"""The other fields are settings, or belong to variants that are not offered."""
LORA_OPTIONS_OF_SOLO: Mapping[str, str] = {
    "bias": "it trains biases of the base model, and the trials of a pack share them",
    "trainable_token_indices": "it trains rows of the embedding, and the trials of a pack share them",
    "target_parameters": "peft adapts its parameters, and a pack adapts only layers",
    "ensure_weight_tying": "it ties trained weights, and a pack keeps each weight by itself",
}
"""Options of LoRA trained by the solo engine, and the reason; a value equal to peft's default counts as absent."""
REFUSED: Mapping[str, str] = {
    "multitask_prompt_tuning": "its forward needs a task id for each row",
    "poly": "its forward needs a task id for each row",
    "xlora": "it mixes adapters trained before",
    "shadow": "it replaces the inputs of the layers, and transformers' models fail on them",
    "adaption_prompt": "it adapts the attention of few models only, and not their heads",
    "cartridge": "it starts from the states of a long text, which objectives do not have",
    "adamss": "peft builds its basis anew at each loading, and another rounding of the weights gives another basis",
    "frod": "peft builds its basis anew at each loading, and another rounding of the weights gives another basis",
    "cpt": "it weights the loss by token types of prompts that objectives do not have",
}
"""Methods of peft that cannot be trained here, and the reason."""


def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(
        (files("orchestrator.core.methods") / "peft_methods.json").read_text(encoding="utf-8")
    )
    return table


_TABLE = _table()


def _method(name: str, settings: frozenset[str], *, only: frozenset[str] | None = None, **rest: Any) -> Method:
    """Return a method with the options of the table."""
    row = _TABLE.get(name, {"config": "LoraConfig", "prefix": "head_alone_", "options": {}})
    fields: Mapping[str, str] = rest.pop("fields", {})
    options = {
        key: Option(kinds=tuple(value["kinds"]), choices=tuple(value.get("choices", ())), default=value["default"])
        for key, value in row["options"].items()
        if key not in OWNED and key not in fields.values() and (only is None or key in only)
    }
    options |= rest.pop("added", {})
    limits: dict[str, Any] = {"over_4_bits": False, "merges": True, "is_prompt": False, "needed": ()}
    limits |= {"decays": True, "with_deepspeed": False, "adapts_layers": True} | rest
    return Method(
        settings=settings, config=row["config"], prefix=row["prefix"], fields=fields, options=options, **limits
    )


def _ranked(name: str, *, alpha: str | None = None, dropout: str | None = None, **rest: Any) -> Method:
    """Return a method whose rank is peft's ``r``."""
    fields = {"rank": "r", "alpha": alpha, "dropout": dropout}
    given = {setting: field for setting, field in fields.items() if field is not None}
    return _method(name, frozenset(given), fields=given, **rest)


def _prompt(name: str) -> Method:
    """Return a method that trains virtual tokens."""
    return _method(name, frozenset(), merges=False, decays=False, is_prompt=True, adapts_layers=False)


_NONE: frozenset[str] = frozenset()

METHODS: Mapping[str, Method] = {
    LORA: _method(
        LORA,
        settings=frozenset({"rank", "alpha", "rslora", "dora", "dropout", "init", "lora_plus_ratio"}),
        fields={"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"},
        only=_LORA_OPTIONS,
        added={"modules_to_save": Option(kinds=("list",), choices=(), default=None)},
        over_4_bits=True,
        with_deepspeed=True,
    ),
    "ia3": _method("ia3", _NONE, over_4_bits=True, decays=False, with_deepspeed=True),
    "loha": _ranked("loha", alpha="alpha", with_deepspeed=True),
    "lokr": _ranked("lokr", alpha="alpha", with_deepspeed=True),
    "vera": _ranked("vera", dropout="vera_dropout", over_4_bits=True, with_deepspeed=True),
    ADALORA: _method(
        ADALORA,
        frozenset({"rank", "alpha", "dropout"}),
        fields={"rank": "target_r", "alpha": "lora_alpha", "dropout": "lora_dropout"},
        only=_ADALORA_OPTIONS,
    ),
    "beft": _method("beft", _NONE),
    "boft": _method("boft", frozenset({"dropout"}), fields={"dropout": "boft_dropout"}, decays=False),
    "c3a": _method("c3a", _NONE),
    "deft": _ranked("deft", dropout="deft_dropout"),
    "delora": _ranked("delora"),
    "fourierft": _method("fourierft", _NONE),
    "glora": _ranked("glora"),
    "gralora": _ranked("gralora", alpha="alpha", dropout="gralora_dropout"),
    "hira": _ranked("hira", dropout="hira_dropout"),
    "hra": _ranked("hra"),
    "lily": _ranked("lily", merges=False),
    "ln_tuning": _method("ln_tuning", _NONE, merges=False),
    "miss": _ranked("miss", dropout="miss_dropout"),
    "oft": _method("oft", _NONE),
    "osf": _method("osf", _NONE, decays=False),
    "peanut": _ranked("peanut"),
    "psoft": _ranked("psoft", dropout="psoft_dropout"),
    "pvera": _ranked("pvera", dropout="pvera_dropout"),
    "randlora": _ranked("randlora", dropout="randlora_dropout"),
    "road": _method("road", _NONE),
    "shira": _ranked("shira"),
    "supertuning": _method("supertuning", _NONE),
    "tinylora": _ranked("tinylora", dropout="tinylora_dropout"),
    "trainable_tokens": _method("trainable_tokens", _NONE, needed=("token_indices",), decays=False),
    "unilora": _ranked("unilora", dropout="unilora_dropout"),
    "vblora": _ranked("vblora", dropout="vblora_dropout"),
    "waveft": _method("waveft", _NONE),
    "prompt_tuning": _prompt("prompt_tuning"),
    "prefix_tuning": _prompt("prefix_tuning"),
    "p_tuning": _prompt("p_tuning"),
    HEAD: _method(HEAD, _NONE, adapts_layers=False),
    FULL: _method(FULL, _NONE, adapts_layers=False),
}
"""By the name in a sweep file, which is peft's. Papers: docs/howto/methods.md.

peft gives the matrices of LoHa and LoKr the shape of the stored weight; 4-bit codes have another shape. The other
methods were not tried on 4-bit layers.
"""


def takers(setting: str) -> tuple[str, ...]:
    """Return the methods with a setting. Settings outside the adapter (a rate, a batch size) belong to all methods."""
    if setting.startswith(OPTIONS):
        return tuple(name for name, method in METHODS.items() if setting.removeprefix(OPTIONS) in method.options)
    if setting == "target_modules":
        return tuple(name for name, method in METHODS.items() if method.adapts_layers)
    methods = tuple(name for name, method in METHODS.items() if setting in method.settings)
    return methods or tuple(METHODS)
