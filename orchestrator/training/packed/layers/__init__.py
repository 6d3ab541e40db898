"""Modules of a pack: linear layers with parameters for each slot, dropout, attention, and hooks for flat tokens.

The way from a call of an adapted layer to its adapter product, all in ``lora.py``:

1. ``PackedLoRA.forward`` reads the layout and the masks of the forward from ``context.current()``, takes the tokens of
   all slots as one matrix ``x_NI``, and draws the dropout mask of the adapters' inputs.
2. ``PackedLoRA._products`` chooses ``LoopedProducts`` (one product per slot) or ``GroupedProducts`` (one for all
   slots), over the slots' A and B.
3. ``LoRAFunction``, an autograd function, computes ``y = x W' + b + s (drop(x) A') B`` by their ``down`` and ``up``.
   The backward uses the same object, and adds the gradients of A and B to the slots' gradients in place.
"""
