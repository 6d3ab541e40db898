#!/usr/bin/env bash
# transformers 5.23.0 and 5.24.0: a T5Gemma classifier gives a row other logits when it is the longest row of its batch.
#
# Expected: with right padding and an attention mask, a row's logits do not depend on the padding. The head reads the
# decoder at the row's last token.
# Observed: the decoder gets the row shifted right, with a first token in front and the last token cut off. The head reads
# the position behind the last token. In a padded row this is the last token; in the longest row of a batch this position
# was cut off, and the head reads the token before. A row alone, or in a batch of equal lengths, is classified without
# its last token, and the same row beside a longer one with it. Training and serving disagree, without a warning.
#
# Output:
#   alone: [-0.25, 1.74], one padding token: [0.48, 1.22], beside a longer row: [0.48, 1.22]
#   the decoder's logits at the last token [0.48, 1.22], at the token before [-0.25, 1.74]
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
import torch
from torch.nn.functional import pad
from transformers import T5GemmaConfig, T5GemmaForSequenceClassification, T5GemmaModuleConfig

torch.manual_seed(0)
FIRST = 2
part = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": FIRST,
}
config = T5GemmaConfig(
    encoder=T5GemmaModuleConfig(**part), decoder=T5GemmaModuleConfig(**part), vocab_size=64, num_labels=2,
    pad_token_id=0, bos_token_id=FIRST,
)
model = T5GemmaForSequenceClassification(config).eval()
row, longer = torch.tensor([[5, 6, 7, 8, 1]]), torch.arange(10, 18)[None]


@torch.no_grad()
def logits(ids):
    return model(input_ids=ids, attention_mask=(ids != 0).long()).logits[0]


def shown(values):
    return [round(value, 2) for value in values.tolist()]


alone, padded, together = logits(row), logits(pad(row, (0, 1))), logits(torch.cat([pad(row, (0, 3)), longer]))
with torch.no_grad():
    decoder = torch.cat([torch.tensor([[FIRST]]), row], dim=1)
    whole = model.score(model.model(input_ids=row, decoder_input_ids=decoder).last_hidden_state)[0]
print(f"alone: {shown(alone)}, one padding token: {shown(padded)}, beside a longer row: {shown(together)}")
print(f"the decoder's logits at the last token {shown(whole[-1])}, at the token before {shown(whole[-2])}")
assert torch.allclose(padded, together, atol=1e-4)
assert torch.allclose(padded, whole[-1], atol=1e-4)
assert torch.allclose(alone, whole[-2], atol=1e-4)
assert float((alone - padded).abs().max()) > 0.1
PY
