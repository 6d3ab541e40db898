#!/usr/bin/env bash
# transformers 5.23.0: a BART classifier with two classes cannot be loaded from its own folder.
#
# Expected: from_pretrained loads the files written by save_pretrained.
# Observed: a configuration omits values equal to the defaults of its base class, which has two classes; BartConfig's own
# default is three. num_labels=2 is not written, three classes are loaded, and the head's weights do not match. Three or
# five classes work, and so do two named ones (id2label), as in most examples.
#
# Output:
#   saved with 2 classes, loaded with 3: RuntimeError
#   saved with 3 classes, loaded with 3
#   saved with 2 named classes, loaded with 2
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
from transformers import BartConfig, BartForSequenceClassification

small = dict(
    vocab_size=64, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
)
found = {}
for label, given in {
    "2 classes": {"num_labels": 2},
    "3 classes": {"num_labels": 3},
    "2 named classes": {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}},
}.items():
    folder = label.replace(" ", "-")
    BartForSequenceClassification(BartConfig(**small, **given)).save_pretrained(folder)
    classes = BartConfig.from_pretrained(folder).num_labels
    try:
        BartForSequenceClassification.from_pretrained(folder)
    except RuntimeError as error:
        found[label] = (classes, ": RuntimeError")
    else:
        found[label] = (classes, "")
    print(f"saved with {label}, loaded with {classes}{found[label][1]}")
assert found == {"2 classes": (3, ": RuntimeError"), "3 classes": (3, ""), "2 named classes": (2, "")}
PY
