"""The packed engine trains many LoRA trials over one frozen base model, in one forward and one backward.

A trial occupies a slot of the pack. The rows of all slots form one batch, slot after slot. Each module imports only
from those below it:

- ``engine``: gives trials a slot, trains them and reports.
- ``limits``: models and trials a pack cannot train, and the number of trials to train at once.
- ``execution``: the pack, the trials in its slots, training steps and reports.
- ``layers``: modules with parameters for each slot, attention, and hooks for flat tokens.
- ``slots``: trainable parameters of all slots, the adapter of one trial, and AdamW.
- ``masks``: dropout masks from one random stream per slot.
- ``layout``: positions of each slot's rows and tokens in a forward.

Tensor names end in a suffix with one letter per dimension; a digit is a fixed size. The letters of the whole package:

    P  slots of the pack, free slots included
    G  groups: the vectors of one slot, or of one row, stored one after another
    L  positions of the longest group
    F  positions of all groups, each padded to the longest: G × L
    U  optimizer updates applied together, one per slot
    N  vectors (tokens or rows) of all slots, slot after slot
    M  tokens read by attention, of all slots; N in self-attention
    B  rows of one slot, or of a batch
    T  tokens of a row, its padding included
    S  tokens of a row read by attention; T in self-attention
    E  positions of the longest row written so far
    H  attention heads of the queries
    K  attention heads of the keys and values
    Q  query heads of one key head: H = K × Q
    X  rows and heads as one dimension: B × H
    D  features of a vector or of a head
    R  ranks; in stacked matrices those of the widest slot
    I  inputs of a layer
    O  outputs of a layer
    V  tokens of the vocabulary
    W  columns of a matrix with one row per rank: I, O, or those of all layers side by side
"""
