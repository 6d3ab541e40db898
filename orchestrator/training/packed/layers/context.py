"""The layout and the masks of the forward in progress, one per thread, read by the modules of a pack."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layers.cache import SlotCache
from orchestrator.training.packed.layout.blocks import Layout
from orchestrator.training.packed.masks.device import MAX_MODULES
from orchestrator.training.packed.masks.dropout_masks import DropoutMasks

_SITE = "packed_site"


@dataclass(slots=True)
class ForwardContext:
    """State of one forward.

    Attributes:
        layout: layout of the encoder, and from the decoder's first layer on of the decoder.
        masks: dropout masks; None outside training.
        cache: keys and values of a forward in generation; None: the forward reads whole rows.
    """

    layout: Layout
    masks: DropoutMasks | None
    cache: SlotCache | None = None


class _Local(threading.local):
    context: ForwardContext | None = None


_LOCAL = _Local()


@contextmanager
def forward_context(
    layout: Layout, masks: DropoutMasks | None = None, cache: SlotCache | None = None
) -> Iterator[ForwardContext]:
    """Make a layout, masks and a cache current in this thread for the body of the ``with`` statement."""
    before, _LOCAL.context = _LOCAL.context, ForwardContext(layout, masks, cache)
    try:
        yield _LOCAL.context
    finally:
        _LOCAL.context = before


def current() -> ForwardContext:
    """Return the context of the forward in progress in this thread."""
    assert _LOCAL.context is not None, "a packed module is called outside a forward"
    return _LOCAL.context


def number_modules(model: nn.Module) -> None:
    """Give every module of a base model its number, the site of its dropout masks.

    Raises:
        CannotPackError: the model has too many modules.
    """
    modules = [*model.modules()]
    if len(modules) > MAX_MODULES:
        raise CannotPackError(f"it has {len(modules)} modules, and a pack supports at most {MAX_MODULES}")
    for site, module in enumerate(modules):
        vars(module)[_SITE] = site


def site_of(module: nn.Module) -> int:
    """Return the number of a base model's module."""
    site: int = vars(module)[_SITE]
    return site
