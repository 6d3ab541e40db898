#!/usr/bin/env bash
# peft 0.21.2, bitsandbytes 0.50.2: LoftQ ignores alpha, so that it doubles the error of quantisation at alpha = 4 rank.
#
# Expected: the scaled product of A and B corrects the rounding of the weight for every alpha, as PiSSA does.
# Observed: A and B are computed for the scaling 1. The model multiplies their product by alpha / rank. With
# alpha = 2 rank the correction is lost, with alpha = 4 rank the outputs are twice as wrong as without LoftQ.
# loftq_init computes on the device "cuda" only; here its source runs with "cpu" in the same places.
#
# Output:
#   on a CPU: AssertionError: Torch not compiled with CUDA enabled
#   error of the outputs without LoftQ: 2.5
#   alpha = 1 rank: 2.0
#   alpha = 2 rank: 2.5
#   alpha = 4 rank: 5.0
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2 bitsandbytes==0.50.2 scipy==1.17.1
run <<'PY'
import inspect
import logging

import peft.tuners.lora.layer as lora_layer
import torch
from peft import LoftQConfig, LoraConfig, get_peft_model
from peft.utils import loftq_utils
from torch import nn

logging.disable(logging.WARNING)


def adapted(alpha):
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(64, 64))
    expected = base(X)
    config = LoraConfig(
        r=8, lora_alpha=alpha, target_modules=["0"], init_lora_weights="loftq", loftq_config=LoftQConfig()
    )
    return get_peft_model(base, config), expected


torch.manual_seed(1)
X = torch.randn(32, 64)
try:
    adapted(8)
except Exception as error:
    print(f"on a CPU: {type(error).__name__}: {error}")
exec(inspect.getsource(loftq_utils.loftq_init).replace('"cuda"', '"cpu"'), vars(loftq_utils))
lora_layer.loftq_init = loftq_utils.loftq_init
errors = {}
for factor in (1, 2, 4):
    model, expected = adapted(8 * factor)
    errors[factor] = (model(X) - expected).norm().item()
    with model.disable_adapter():
        without = (model(X) - expected).norm().item()
print(f"error of the outputs without LoftQ: {without:.1f}")
for factor, error in errors.items():
    print(f"alpha = {factor} rank: {error:.1f}")
assert errors[1] < 0.9 * without < errors[2] < 1.1 * without < 1.8 * without < errors[4]
PY
