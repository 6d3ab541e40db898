"""The parts of an adapter's README for tasks that write text: after a prompt, or in a conversation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapters import AdapterCard

_LOAD = """\
from peft import PeftModel
from transformers import {imports}

{base}
model = {auto}.from_pretrained({arguments})
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model.config.pad_token_id = tokenizer.pad_token_id  # as in training
model.generation_config = model.generation_config.from_pretrained("THIS FOLDER")  # with the learned end token
model = PeftModel.from_pretrained(model, "THIS FOLDER").eval()
"""
_PROMPT = """\
prompt = {prompt!r}.replace("{{text}}", "YOUR TEXT")
"""
_CHAT = """\
messages = [{{"role": "user", "content": "YOUR TEXT"}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
"""


def writer_code(card: "AdapterCard") -> str:
    """Return the template of the example code."""
    return _LOAD + (_CHAT if card.chat else _PROMPT)


def writer_task(card: "AdapterCard") -> str:
    """Return the task in one sentence."""
    if card.chat:
        return "It writes the next answer in a conversation, in the chat template of its tokenizer."
    return f"It writes a text after the prompt {f'`{card.prompt}`' if '`' not in card.prompt else repr(card.prompt)}."


def input_limit(card: "AdapterCard") -> str:
    """Return the limit of the input in one sentence."""
    if card.chat:
        return f"It was trained on conversations of at most {card.max_length} tokens; longer ones are not cut."
    return f"Texts are cut to {card.max_length} tokens, as in training."
