#!/usr/bin/env bash
# transformers 5.23.0: BERTweet's tokenizer splits words differently after save_pretrained and from_pretrained.
#
# Expected: a saved tokenizer gives the same tokens.
# Observed: a published bpe.codes has three columns (two parts and a count), and the reader drops the last column.
# save_pretrained writes the merges without counts, so the reader then drops the second part of each merge. No valid
# merge remains, and words are split into letters, without a warning. A fine-tuned model saved with its tokenizer gets
# other tokens than in training.
#
# Output:
#   published files: ['good']      after saving: ['g@@', 'o@@', 'o@@', 'd']
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
from pathlib import Path

from transformers import BertweetTokenizer

Path("vocab.txt").write_text("go@@ 9\ngood 8\nod 7\ng@@ 5\no@@ 5\nd 5\n")
Path("bpe.codes").write_text("o d</w> 50\ng o 40\ngo od</w> 30\n")
published = BertweetTokenizer("vocab.txt", "bpe.codes")
published.save_pretrained("saved")
found = published.tokenize("good"), BertweetTokenizer.from_pretrained("saved").tokenize("good")
print(f"published files: {found[0]}      after saving: {found[1]}")
assert found == (["good"], ["g@@", "o@@", "o@@", "d"])
PY
