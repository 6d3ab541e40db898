"""Keys and values of the tokens already read, of the rows of all slots, for generation.

The prompts of all rows are read in one forward. From then on a forward reads one token of each row, and its query
attends to the stored keys of its row. Letters as in the package; E are the positions of the longest row so far.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import DynamicCache

from orchestrator.training.packed.layout.blocks import Layout
from orchestrator.training.packed.layout.padding import pad_heads


class SlotCache(DynamicCache):
    """The cache of one batch; transformers' layers call ``update``.

    Attributes:
        is_reading: whether the forward in progress reads one token of each row, and not the prompts.
        positions_B: tokens of each row so far; the position of the next one.
        longest: of them.
    """

    def __init__(self, layout: Layout, lengths_B: torch.Tensor, spare: int) -> None:
        """Store nothing yet.

        Args:
            layout: layout of the prompts.
            lengths_B: tokens of each prompt.
            spare: most tokens to follow each prompt.
        """
        super().__init__()
        self._layout, self._spare = layout, spare
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}
        self._rows_B = torch.arange(len(lengths_B), device=lengths_B.device)
        self.positions_B = lengths_B.clone()
        self.longest = layout.longest
        self.is_reading = False

    @property
    def is_filled(self) -> bool:
        """Whether a layer has stored its keys: the model uses the cache."""
        return bool(self._keys)

    def begin_token(self) -> None:
        """Prepare the forward of the next token of each row."""
        self.is_reading = True
        self.longest = int(self.positions_B.max()) + 1
        places_1E = torch.arange(self.longest, device=self.positions_B.device)[None]
        self._mask_B11E = (places_1E <= self.positions_B[:, None])[:, None, None]

    def end_token(self) -> None:
        """Count the token of each row."""
        self.positions_B += 1

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store ``key_1KND`` and ``value_1KND``; return them, or once the prompts are read ``key_BKED``."""
        if not self.is_reading:
            self._keys[layer_idx] = self._padded(key_states)
            self._values[layer_idx] = self._padded(value_states)
            return key_states, value_states
        stored = []
        for values_BKED, new_1KBD in ((self._keys[layer_idx], key_states), (self._values[layer_idx], value_states)):
            values_BKED[self._rows_B, :, self.positions_B] = new_1KBD[0].transpose(0, 1)
            stored.append(values_BKED[:, :, : self.longest])
        return stored[0], stored[1]

    def attend(
        self, query_1HBD: torch.Tensor, key_BKED: torch.Tensor, value_BKED: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return ``output_1BHD``: each row's token reads the tokens of its row."""
        copies = query_1HBD.shape[1] // key_BKED.shape[1]
        if copies > 1:
            key_BKED, value_BKED = (each.repeat_interleave(copies, dim=1) for each in (key_BKED, value_BKED))
        query_BH1D = query_1HBD[0].transpose(0, 1)[:, :, None]
        output_BH1D = scaled_dot_product_attention(query_BH1D, key_BKED, value_BKED, self._mask_B11E, scale=scale)
        return output_BH1D[:, :, 0][None]

    def _padded(self, values_1KND: torch.Tensor) -> torch.Tensor:
        """Return ``values_BKED`` with room for the tokens to follow."""
        groups = self._layout.tokens_by_row
        _, heads, _, width = values_1KND.shape
        padded_KBTD = pad_heads(values_1KND, groups)[0].view(heads, groups.num_groups, groups.longest, width)
        room_BKED = padded_KBTD.new_zeros(groups.num_groups, heads, groups.longest + self._spare, width)
        room_BKED[:, :, : groups.longest] = padded_KBTD.transpose(0, 1)
        return room_BKED
