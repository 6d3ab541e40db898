#!/usr/bin/env bash
# bitsandbytes 0.50.2: on a CPU, an 8-bit layer computes another product in training than in evaluation.
#
# Expected: a frozen Linear8bitLt has no dropout, so train() and eval() give the same output for the same input.
# Observed: in training the weight is decoded and the input is not rounded. In evaluation the input is rounded to float16
# and 8 bits, and columns with outliers are found over all rows, so the output of a row also depends on its neighbours.
# The validation loss of QLoRA is then the loss of a model that was not trained.
#
# Output:
#   error against the decoded weight: in training 2.4e-07, in evaluation 0.00972
#   change of a row beside a row with an outlier, in evaluation: 0.00117
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 bitsandbytes==0.50.2
run <<'PY'
import logging

import bitsandbytes
import torch

logging.disable(logging.WARNING)
torch.manual_seed(0)
layer = bitsandbytes.nn.Linear8bitLt(64, 64, has_fp16_weights=False, threshold=6.0)
layer.load_state_dict(torch.nn.Linear(64, 64).state_dict())
layer = layer.to("cpu")
weight = layer.weight.data * (layer.weight.SCB / 127)[:, None]
row, outlier = torch.randn(1, 64), torch.randn(1, 64)
outlier[0, 3] = 50.0
with torch.no_grad():
    decoded = torch.nn.functional.linear(row, weight, layer.bias)
    trained, alone = layer.train()(row), layer.eval()(row)
    beside = layer(torch.cat([row, outlier]))[:1]
errors = [(output - decoded).abs().max().item() for output in (trained, alone)]
change = (beside - alone).abs().max().item()
print(f"error against the decoded weight: in training {errors[0]:.2g}, in evaluation {errors[1]:.3g}")
print(f"change of a row beside a row with an outlier, in evaluation: {change:.3g}")
assert errors[0] < 1e-5 < 1e-3 < errors[1]
assert change > 1e-4
PY
