"""A tiny language model with a chat template, and rows of conversations."""

import json
from pathlib import Path

from tests.fakes.tiny_models import VOCAB, tiny_llama

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template of SmolLM2-135M-Instruct."""
MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}"
    "{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""A template that marks the assistant's turns."""
FORGETFUL = (
    "{% for message in messages %}{% if message['role'] == 'assistant' and not loop.last %}"
    "{{ '<|im_start|>assistant ' + message['content'].split('!')[-1] + '<|im_end|>' }}{% else %}"
    "{{ '<|im_start|>' + message['role'] + ' ' + message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
)
"""A template that removes the text before ``!`` from earlier answers, as some do with thinking."""


def tiny_chat_model(folder: Path, template: str | None = SMOLLM2) -> Path:
    """Save a Llama language model with a chat template and return its folder."""
    from transformers import AutoTokenizer

    ends = ("<|im_start|>", "<|im_end|>")
    tiny_llama(folder, vocab=(*VOCAB, "system", "user", "assistant", "be", "it", *ends))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = len(tokenizer)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": [ends[0]]})
    assert len(tokenizer) == size  # the model has a row for each token
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def write_chats(file: Path, rows: int = 120) -> Path:
    """Write conversations of one to three exchanges as JSON lines: each answer names the user's word."""
    words = ("film", "plot", "music", "game", "party", "market", "match", "article")
    lines = []
    for row in range(rows):
        messages = [{"role": "system", "content": "be nice"}]
        for turn in range(1 + row % 3):
            word = words[(row + turn) % len(words)]
            messages += [
                {"role": "user", "content": f"is the {word} {row} good?"},
                {"role": "assistant", "content": f"the {word} is good"},
            ]
        lines.append(json.dumps({"messages": messages}))
    file.write_text("\n".join(lines) + "\n")
    return file
