#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0: target_modules="all-linear" cannot be used for token classification.
#
# Expected: task_type=TOKEN_CLS saves the head "classifier", so "all-linear" excludes it, as with SEQ_CLS.
# Observed: it excludes the head for SEQ_CLS only. With TOKEN_CLS the head gets an adapter, then cannot be saved in full.
# Naming the head in exclude_modules, or in modules_to_save, helps.
#
# Output:
#   SEQ_CLS: works
#   TOKEN_CLS: TypeError: modules_to_save cannot be applied to modules of type <class 'peft.tuners.lora.layer.Linear'>
#   TOKEN_CLS, modules_to_save=["classifier"]: works
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'PY'
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

CONFIG = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)


def adapt(kind, task, **options):
    get_peft_model(kind(CONFIG), LoraConfig(task_type=task, target_modules="all-linear", **options))


adapt(BertForSequenceClassification, "SEQ_CLS")
print("SEQ_CLS: works")
try:
    adapt(BertForTokenClassification, "TOKEN_CLS")
except TypeError as error:
    print(f"TOKEN_CLS: TypeError: {error}")
    assert "modules_to_save cannot be applied" in str(error)
else:
    raise SystemExit("all-linear works with TOKEN_CLS now")
adapt(BertForTokenClassification, "TOKEN_CLS", modules_to_save=["classifier"])
print('TOKEN_CLS, modules_to_save=["classifier"]: works')
PY
