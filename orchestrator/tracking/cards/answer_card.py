"""The parts of an adapter's README for extractive question answering."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.tracking.logged_models.adapters import AdapterCard

TASK = "It answers a question by a part of a given text{or_not}."
CODE = """\
import torch
from peft import PeftModel
from transformers import {imports}

{base}
model = AutoModelForQuestionAnswering.from_pretrained({arguments})  # the adapter brings its own head
tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model = PeftModel.from_pretrained(model, "THIS FOLDER").eval()
inputs = tokenizer("YOUR QUESTION", "YOUR TEXT", truncation="only_second", max_length={max_length}, return_tensors="pt")
with torch.no_grad():
    output = model(**inputs)
start, end = output.start_logits.argmax(), output.end_logits.argmax()  # the first token stands for no answer
print(tokenizer.decode(inputs["input_ids"][0, start : end + 1]))
"""


def answer_task(card: "AdapterCard") -> str:
    """Return the task in one sentence."""
    return TASK.format(or_not="" if card.no_answer_threshold is None else ", or says that it has no answer")


def answer_limits(card: "AdapterCard") -> list[str]:
    """Return the known limits, one sentence each."""
    windows = (
        f"A text longer than {card.max_length} tokens is read in overlapping windows, as in training. An answer has at "
        "most 30 tokens."
    )
    if card.no_answer_threshold is None:
        return [windows, "Every question gets an answer, also one that the text does not answer."]
    threshold = (
        "A question has no answer if the score of none exceeds that of the best answer by more than "
        f"{card.no_answer_threshold:.4g} (tuned on the validation rows)."
    )
    return [windows, threshold]
