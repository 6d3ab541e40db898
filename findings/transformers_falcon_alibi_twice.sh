#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0: Falcon with ALiBi adds the position bias twice under attn_implementation="eager".
#
# Expected: eager, sdpa and flash attention compute the same model up to rounding, with eager as the reference.
# Observed: for Falcon with alibi=True, the causal mask passed to the layers already contains the bias, and the eager
# layer adds it again. Losses of trained checkpoints (Falcon-RW) under eager differ from those under the default of
# from_pretrained (sdpa).
#
# Output:
#   largest difference of logits, eager and sdpa: 0.020 (largest logit 0.63)
#   attention of layer 0 under eager is softmax(qk/sqrt(d) + 2 * bias): error 6.0e-08; with 1 * bias: error 0.07
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
import torch
from transformers import FalconConfig, FalconForCausalLM
from transformers.models.falcon.modeling_falcon import build_alibi_tensor

torch.manual_seed(0)
heads, size, length = 4, 32, 24
config = FalconConfig(
    vocab_size=64, hidden_size=size, num_hidden_layers=2, num_attention_heads=heads, alibi=True, multi_query=False
)
FalconForCausalLM(config).save_pretrained("falcon")
ids = torch.randint(0, 64, (2, length), generator=torch.Generator().manual_seed(0))
models = {name: FalconForCausalLM.from_pretrained("falcon", attn_implementation=name).eval() for name in ("eager", "sdpa")}
with torch.no_grad():
    logits = {name: model(input_ids=ids).logits for name, model in models.items()}
difference = (logits["eager"] - logits["sdpa"]).abs().max().item()
print(f"largest difference of logits, eager and sdpa: {difference:.3f} (largest logit {logits['sdpa'].abs().max():.2f})")

fused = []
attention = models["eager"].transformer.h[0].self_attention
attention.query_key_value.register_forward_hook(lambda module, inputs, output: fused.append(output))
with torch.no_grad():
    seen = models["eager"](input_ids=ids, output_attentions=True).attentions[0]
query, key, _ = fused[0].view(2, length, heads, 3, size // heads).permute(3, 0, 2, 1, 4)
bias = build_alibi_tensor(torch.ones(2, length), heads, torch.float32).view(2, heads, 1, length)
causal = torch.full((length, length), float("-inf")).triu(1)
error = {}
for times in (1, 2):
    scores = (query @ key.transpose(-1, -2) + times * bias) / (size // heads) ** 0.5
    error[times] = ((scores + causal).softmax(-1) - seen).abs().max().item()
print(
    f"attention of layer 0 under eager is softmax(qk/sqrt(d) + 2 * bias): error {error[2]:.1e}; "
    f"with 1 * bias: error {error[1]:.1g}"
)
assert difference > 0.005
assert error[2] < 1e-5 < 0.01 < error[1]
PY
