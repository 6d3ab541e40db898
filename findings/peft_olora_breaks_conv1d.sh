#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0: OLoRA on GPT-2's Conv1D layers fails, or changes the model's outputs silently.
#
# Expected: a new OLoRA adapter keeps the outputs of the model, as on Linear layers: W - s B A + s B A is W.
# Observed: Conv1D stores its weight transposed, and OLoRA factorises it as stored. A and B of a square layer are then
# those of the transposed weight: the outputs change without a message. Other layers fail in the first forward.
# PiSSA transposes the weight and keeps the outputs.
#
# Output:
#   c_proj of attention (square), pissa: outputs differ by less than 1e-5
#   c_proj of attention (square), olora: outputs differ by more than 1e-2
#   c_attn, olora: RuntimeError in the forward
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'PY'
import copy
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

warnings.simplefilter("ignore")
torch.manual_seed(0)
MODEL = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=32)).eval()
with torch.no_grad():
    for parameter in MODEL.parameters():
        if parameter.dim() > 1:
            parameter.mul_(10)  # weights of the size of trained ones
IDS = torch.arange(8)[None]


def difference(init, target):
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=[target], init_lora_weights=init, fan_in_fan_out=True)
    model = get_peft_model(copy.deepcopy(MODEL), config).eval()
    with torch.no_grad():
        return (model(IDS).logits - MODEL(IDS).logits).abs().max().item()


pissa, olora = (difference(init, "attn.c_proj") for init in ("pissa", "olora"))
assert pissa < 1e-5, pissa
print("c_proj of attention (square), pissa: outputs differ by less than 1e-5")
assert olora > 1e-2, olora
print("c_proj of attention (square), olora: outputs differ by more than 1e-2")
try:
    difference("olora", "c_attn")
except RuntimeError:
    print("c_attn, olora: RuntimeError in the forward")
else:
    raise SystemExit("OLoRA works on c_attn now")
PY
