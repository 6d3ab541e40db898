#!/usr/bin/env bash
# peft 0.21.2: a saved FRoD adapter gives other outputs once it is loaded with another number of threads, or in bfloat16.
#
# Expected: save_projection=True (the default) stores the projections; as its help says, it "guarantees that we can reload
# the adapter on all system configurations". The same files give the same outputs, up to rounding.
# Observed: a weight is the product of a basis U and a basis V. The file holds V without U. Loading decomposes the base
# model's weights again for U, and then reads V from the file. The decomposition depends on the last bit of a sum: with
# another rounding, U and V belong to different bases, and the product is no longer the weight. The outputs are wrong by
# their own size, without a warning, even before any training. LoRA's change is as small as the rounding.
#
# Output (1.0 is the largest logit; two threads change it where they change a sum, as on most machines):
#   tensors in the file: frod_V, frod_lambda_l, frod_lambda_s_values, frod_s_indices, frod_s_size
#   LORA: one thread 0.00, two threads 0.00, weights off by 1e-6 0.00, bfloat16 0.01
#   FROD: one thread 0.00, two threads 1.13, weights off by 1e-6 1.19, bfloat16 1.44
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'PY'
import tempfile

import torch
from peft import FrodConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

IDS = torch.arange(5, 15)[None]
TARGETS = "all-linear"


def base():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            initializer_range=0.2,
        )
    ).eval()


@torch.no_grad()
def off(model, expected):
    return float((model(IDS).logits.float() - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def differences(config):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = get_peft_model(base(), config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter) * 0.02)
    expected = model(IDS).logits
    moved = base()
    for parameter in moved.parameters():
        parameter.mul_(1 + 1e-6 * torch.randn_like(parameter))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        if config.peft_type.value == "FROD":
            parts = {part for name in load_file(f"{folder}/adapter_model.safetensors") for part in name.split(".")}
            print("tensors in the file:", ", ".join(sorted(part for part in parts if part.startswith("frod_"))))
            assert "frod_V" in parts
            assert "frod_U" not in parts
        found = {"one thread": off(PeftModel.from_pretrained(base(), folder).eval(), expected)}
        torch.set_num_threads(2)
        found["two threads"] = off(PeftModel.from_pretrained(base(), folder).eval(), expected)
        torch.set_num_threads(1)
        found["weights off by 1e-6"] = off(PeftModel.from_pretrained(moved, folder).eval(), expected)
        found["bfloat16"] = off(PeftModel.from_pretrained(base().bfloat16(), folder).eval(), expected)
    print(f"{config.peft_type.value}:", ", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    return found


lora = differences(LoraConfig(r=4, target_modules=TARGETS, task_type="CAUSAL_LM"))
frod = differences(FrodConfig(target_modules=TARGETS, task_type="CAUSAL_LM", progressbar=False))
assert max(lora.values()) < 0.1
assert frod["one thread"] < 1e-4
assert frod["weights off by 1e-6"] > 0.3
assert frod["bfloat16"] > 0.3
PY
