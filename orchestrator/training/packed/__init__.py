"""The packed engine: many LoRA trials over one frozen base, in one forward and one backward.

Shape suffixes: P slots, R rank (the widest of the pack), I and O inputs and outputs of a layer, N tokens or rows of all
slots, one slot after the other; inside one slot B rows, T tokens, H heads, D features, C classes.
"""
