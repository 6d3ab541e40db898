"""Reasons against packing in the configuration and code of a model, possibly invisible in a trial run."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from orchestrator.evaluation.row_independence import rope_length_limit

_TEMPERATURE = ("attn_temperature_tuning",)
_CAPACITY = ("expert_capacity", "moe_expert_capacity", "capacity_factor", "moe_eval_capacity_token_fraction")


def risk(model: PreTrainedModel) -> str | None:
    """Return why a model cannot compute the rows of several trials together; None if no reason is known.

    A pack gives a model the tokens of all rows as one row. So the results must not depend on the longest row or on the
    number of tokens, and positions must come from ``position_ids``.
    """
    if rope_length_limit(model) is not None:
        return "its RoPE follows the longest row of a forward (dynamic or long RoPE)"
    values = dict(_declared(model.config.to_dict()))
    if any(values.get(name) for name in _TEMPERATURE):
        return "its attention's temperature follows a token's place in the forward"
    if any(values.get(name) is not None for name in _CAPACITY):
        return "its experts take a limited number of a row's tokens"
    counting = next((type(part).__name__ for part in _inside(model) if _counts(part)), None)
    return None if counting is None else f"{counting} counts the tokens of a forward to find their places"


def _declared(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from _declared(value)


def _inside(model: PreTrainedModel) -> Iterator[nn.Module]:
    """Yield one module of each attention class; these get positions as arguments, and must not compute them."""
    seen = set()
    for module in model.modules():
        if type(module) not in seen and "attention" in type(module).__name__.lower():
            seen.add(type(module))
            yield module


def _counts(module: nn.Module) -> bool:
    """Return whether a module's forward calls ``arange``."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError):
        return False
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr == "arange" for call in calls)
