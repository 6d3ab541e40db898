#!/usr/bin/env bash
# peft 0.21.2: merge_and_unload of LN tuning leaves the trained head behind.
#
# Expected: merge_and_unload returns a plain model with the outputs of the adapted model, as with LoRA.
# Observed: with LoRA the trained head replaces the original one. With LN tuning the wrapper of modules_to_save stays in
# the model, so a saved model has keys that plain transformers do not know, and loads with another head.
#
# Output:
#   LORA: wrapper left: False, difference after reload: 6e-08
#   LN_TUNING: wrapper left: True, difference after reload: 0.7
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'PY'
import tempfile

import torch
from peft import LNTuningConfig, LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

CONFIG = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
IDS = torch.arange(5, 15)[None]


@torch.no_grad()
def difference(config):
    torch.manual_seed(0)
    model = get_peft_model(BertForSequenceClassification(CONFIG), config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter))
    before = model(input_ids=IDS).logits
    merged = model.merge_and_unload()
    left = any("modules_to_save" in name for name, _ in merged.named_modules())
    with tempfile.TemporaryDirectory() as folder:
        merged.save_pretrained(folder)
        after = BertForSequenceClassification.from_pretrained(folder).eval()(input_ids=IDS).logits
    found = float((after - before).abs().max())
    print(f"{config.peft_type.value}: wrapper left: {left}, difference after reload: {found:.1g}")
    return left, found


left, found = difference(LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
assert not left and found < 1e-4
left, found = difference(LNTuningConfig(task_type="SEQ_CLS", target_modules=["LayerNorm"]))
if not left or found < 1e-3:
    raise SystemExit("LN tuning merges with a head now")
PY
