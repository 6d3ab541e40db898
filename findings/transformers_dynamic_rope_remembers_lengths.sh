#!/usr/bin/env bash
# transformers 5.23.0: with dynamic RoPE, a text's logits depend on the longest row of its batch and on earlier texts.
#
# Expected: in eval mode, the output for a row depends only on this row, and calls have no state.
# Observed: dynamic RoPE computes its frequencies from the longest row of a batch, so a short text in a batch with a long
# one gets other positions. It also keeps the frequencies: after a longer text, a medium one gets other logits, until a
# text shorter than the original length resets them. A loss depends on the batches and their order.
#
# Output:
#   short text, alone and beside a longer one: logits differ by 0.81 of 5.48
#   middle text, before and after a longer one: logits differ by 5.68 of 6.09; after a short one again: 0.00
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    max_position_embeddings=32, initializer_range=0.3,
    rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
)
model = LlamaForCausalLM(config).eval()
short = torch.arange(8)[None]
middle, long = (torch.randint(0, 64, (1, length)) for length in (40, 60))
beside = torch.cat([torch.nn.functional.pad(short, (0, 52)), long])
mask = torch.ones_like(beside)
mask[0, 8:] = 0
with torch.no_grad():
    alone = model(short).logits[0]
    together = model(beside, attention_mask=mask).logits[0, :8]
    model(short)
    before = model(middle).logits
    model(long)
    after = model(middle).logits
    model(short)
    again = model(middle).logits
neighbour, memory, reset = (alone - together).abs().max(), (before - after).abs().max(), (before - again).abs().max()
print(f"short text, alone and beside a longer one: logits differ by {neighbour:.2f} of {alone.abs().max():.2f}")
print(
    f"middle text, before and after a longer one: logits differ by {memory:.2f} of {before.abs().max():.2f}; "
    f"after a short one again: {reset:.2f}"
)
assert neighbour > 0.1
assert memory > 1
assert reset == 0
PY
