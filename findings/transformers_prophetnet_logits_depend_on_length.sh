#!/usr/bin/env bash
# transformers 5.23.0 and 5.24.0: ProphetNet's logits of a token depend on the number of tokens behind it, so text is
# written by another model than the one trained.
#
# Expected: a decoder is causal. The logits of the first token are the same for a text of one token and of eight; one pass
# over a whole text (as in training) gives the logits of generation token by token, with or without a cache.
# Observed: the contents of later tokens do not matter, but their number does. The logits of the first token change
# with every length, by up to a sixth of the largest logit of the encoder-decoder, and more with ProphetNetForCausalLM.
# Generation reads the last token of a growing text, and gets other logits than training did at the same place.
# With a cache they are different again. Perplexity, ranking by loss and generated text do not belong to one model, and
# padding labels changes the loss of the others. (Issue 24289 of transformers reports it for padding.)
#
# Output (differences of logits from those of the whole text of 8 tokens):
#   encoder-decoder, largest logit 5.3
#     first token, texts of 1, 4, 7 tokens: 0.51, 0.57, 0.71, other last token: 0.00
#     last token without a cache, 2, 4, 7 tokens: 0.53, 0.37, 0.68, with a cache: 0.34, 0.63, 0.67
#   decoder alone, largest logit 5.7
#     first token, texts of 1, 4, 7 tokens: 1.36, 1.12, 1.26, other last token: 0.00
#     last token without a cache, 2, 4, 7 tokens: 3.98, 5.98, 3.30, with a cache: 1.10, 7.21, 3.97
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 transformers==5.23.0
run <<'PY'
import torch
from transformers import ProphetNetConfig, ProphetNetForCausalLM, ProphetNetForConditionalGeneration

torch.manual_seed(0)
config = ProphetNetConfig(
    vocab_size=64, hidden_size=32, encoder_ffn_dim=64, decoder_ffn_dim=64, num_encoder_layers=2, num_decoder_layers=2,
    num_encoder_attention_heads=4, num_decoder_attention_heads=4, max_position_embeddings=64, init_std=0.3, ngram=2,
    is_decoder=True,
)
alone, both = ProphetNetForCausalLM(config).eval(), ProphetNetForConditionalGeneration(config).eval()
source, text = torch.arange(5, 13)[None], torch.tensor([[0, 20, 31, 42, 53, 24, 35, 46]])
other = torch.cat([text[:, :-1], torch.tensor([[9]])], dim=1)
forwards = {
    "encoder-decoder": lambda ids, **more: both(input_ids=source, decoder_input_ids=ids, **more),
    "decoder alone": lambda ids, **more: alone(ids, **more),
}


def apart(first, second):
    return float((first - second).abs().max())


def shown(values):
    return ", ".join(f"{value:.2f}" for value in values)


@torch.no_grad()
def check(name, forward):
    whole = forward(text, use_cache=False).logits[0]
    causal = apart(forward(other, use_cache=False).logits[0, 0], whole[0])
    by_length = [forward(text[:, :length], use_cache=False).logits[0] for length in range(1, len(whole) + 1)]
    first = [apart(by_length[length - 1][0], whole[0]) for length in (1, 4, 7)]
    last = [apart(by_length[length - 1][-1], whole[length - 1]) for length in (2, 4, 7)]
    cache, steps = None, []
    for place in range(len(whole)):
        step = forward(text[:, place : place + 1], use_cache=True, past_key_values=cache)
        cache = step.past_key_values
        steps.append(apart(step.logits[0, -1], whole[place]))
    cached = [steps[length - 1] for length in (2, 4, 7)]
    print(f"{name}, largest logit {float(whole.abs().max()):.1f}")
    print(f"  first token, texts of 1, 4, 7 tokens: {shown(first)}, other last token: {causal:.2f}")
    print(f"  last token without a cache, 2, 4, 7 tokens: {shown(last)}, with a cache: {shown(cached)}")
    assert causal < 1e-4
    assert min(first + last + cached) > 0.05


for name, forward in forwards.items():
    check(name, forward)
PY
