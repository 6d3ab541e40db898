#!/usr/bin/env bash
# peft 0.21.2: above some rank, LoKr's `r` does not change the adapter's size; it only reduces its scaling.
#
# Expected: as in LoRA, a larger rank gives a more expressive adapter.
# Observed: LoKr factorises a 384 × 384 weight into 16 × 16 and 24 × 24. The second factor has rank r only if r is below
# half of its size. From r = 12 on, it is a full matrix with the same number of parameters, but alpha / r still
# multiplies the update. A search over ranks 16, 32 and 64 at a fixed alpha compares one adapter at three scalings.
#
# Output:
#   r= 4: 448 parameters, scale 4      r= 8: 640 parameters, scale 2      r=12: 832 parameters, scale 1.33
#   r=16: 832 parameters, scale 1      r=64: 832 parameters, scale 0.25
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'PY'
from peft import LoKrConfig, get_peft_model
from transformers import BertConfig, BertModel

config = BertConfig(vocab_size=64, hidden_size=384, num_hidden_layers=1, num_attention_heads=12, intermediate_size=1536)
found = {}
for rank in (4, 8, 12, 16, 64):
    model = get_peft_model(BertModel(config), LoKrConfig(target_modules=["query"], r=rank, alpha=16))
    layer = model.base_model.model.encoder.layer[0].attention.self.query
    size = sum(value.numel() for name, value in layer.named_parameters() if "lokr" in name)
    found[rank] = (size, layer.scaling["default"])
    print(f"r={rank:2}: {size} parameters, scale {found[rank][1]:.3g}")
assert found[4][0] < found[8][0] < found[12][0] == found[16][0] == found[64][0]
assert found[16][1] == 4 * found[64][1]
PY
