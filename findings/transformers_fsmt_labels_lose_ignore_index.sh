#!/usr/bin/env bash
# transformers 5.23.0: with FSMT (the WMT19 translators), DataCollatorForSeq2Seq returns labels without −100, so padding
# is part of the loss.
#
# Expected: the collator pads labels with −100, ignored by the loss, and the model only derives the decoder's input.
# Observed: FSMT's prepare_decoder_input_ids_from_labels overwrites −100 by the padding's id in the given labels, not in a
# copy, and the collator passes the batch's own labels. The loss then includes all padding. Without model=… the collator
# works as expected.
#
# Output:
#   collator alone:      [7, 2, -100, -100, -100]
#   collator with model: [7, 2, 1, 1, 1]
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
from tokenizers import Tokenizer, models
from transformers import DataCollatorForSeq2Seq, FSMTConfig, FSMTForConditionalGeneration, PreTrainedTokenizerFast

words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "a": 5}, "a"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")
model = FSMTForConditionalGeneration(
    FSMTConfig(
        langs=["en", "de"], src_vocab_size=64, tgt_vocab_size=64, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )
)


def labels(**given):
    rows = [{"input_ids": [5, 6, 2], "labels": [7, 8, 9, 10, 2]}, {"input_ids": [5, 2], "labels": [7, 2]}]
    return DataCollatorForSeq2Seq(tokenizer, **given)(rows)["labels"][1].tolist()


found = {"collator alone": labels(), "collator with model": labels(model=model)}
for name, values in found.items():
    print(f"{name + ':':20} {values}")
assert found["collator alone"] == [7, 2, -100, -100, -100]
assert found["collator with model"] == [7, 2, 1, 1, 1]
PY
