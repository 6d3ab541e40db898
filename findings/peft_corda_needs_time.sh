#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0: preprocess_corda cannot be used with all-linear on an encoder with a pooler.
#
# Expected: the covariance of a layer's inputs, D×D for D inputs, for every linear layer.
# Observed: the hook removes a first dimension of 1. The pooler's input for one row has no time dimension, so a vector
# remains; its product with itself is a number. Rows in batches of two fail in the other layers.
# Leaving the pooler out helps. The module imports attrs, which peft does not install.
#
# Output:
#   with the pooler, one row: IndexError
#   without the pooler, two rows: RuntimeError
#   without the pooler, one row: works
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2 attrs==26.1.0
run <<'PY'
import warnings

import torch
from peft import LoraConfig
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda
from transformers import BertConfig, BertForSequenceClassification

warnings.simplefilter("ignore")
CONFIG = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)


def prepare(rows, *names):
    model = BertForSequenceClassification(CONFIG)
    config = LoraConfig(r=4, target_modules=[*names], init_lora_weights="corda", corda_config=CordaConfig())
    preprocess_corda(model, config, lambda: model(input_ids=torch.arange(5, 13)[None].repeat(rows, 1)))


for rows, names, expected in ((1, ("query", "pooler.dense"), IndexError), (2, ("query",), RuntimeError)):
    where = f"{'without' if len(names) == 1 else 'with'} the pooler, {'one row' if rows == 1 else 'two rows'}"
    try:
        prepare(rows, *names)
    except expected as error:
        print(f"{where}: {type(error).__name__}")
    else:
        raise SystemExit(f"preprocess_corda works {where} now")
prepare(1, "query")
print("without the pooler, one row: works")
PY
