#!/usr/bin/env bash
# transformers 5.23.0: BERTweet's tokenizer splits words otherwise after save_pretrained and from_pretrained.
#
# A good guess: a saved tokenizer is the tokenizer. A published bpe.codes has three columns, two parts and a count, and
# reading drops the last column of every line. save_pretrained writes the merges without counts, so the next reading
# drops the second part of each: no merge is left that is one, and words fall into letters. Nothing warns; a model that
# was fine-tuned and saved with its tokenizer is served with other tokens than it was trained on.
#
# Output seen:
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
