"""Preference tuning on conversations: pairs of answers in the chat template of the model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.assets.data import read_table
from orchestrator.core.data import Source
from orchestrator.core.errors import DataError
from orchestrator.objective.chat.messages import Message, Role, read_messages
from orchestrator.objective.chat.template import Renderer
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.preference.columns import CHOSEN, PROMPT, REJECTED, Pair, PairForm, converted_pairs
from orchestrator.objective.preference.objective import PreferencePairs
from orchestrator.objective.protocol import Example
from orchestrator.objective.sequences import join

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

_MESSAGES = {name: f"{name}_messages" for name in (PROMPT, CHOSEN, REJECTED)}
"""Columns with the messages of each part."""
_Conversation = tuple[Message, ...]


class ChatPreferencePairs(PreferencePairs):
    """Base of objectives with two continuations of a conversation.

    Prompt and answers are lists of messages, or texts: a turn of the user, and of the assistant. Without ``prompt``,
    both answers are whole conversations, and the prompt is their common beginning. The loss is on the answers' tokens
    within the assistant's turns.

    Attributes:
        chat_template: the text of a template in Jinja, from ``data.chat_template``; None: the tokenizer's own.
    """

    chat_template: str | None = None

    def read_pairs(self, source: Source, columns: Mapping[str, str], left_out: "Counter[str]") -> "datasets.Dataset":
        """Return the pairs of a source; further columns hold the messages of prompt and answers.

        Raises:
            DataError: a column is missing, a cell has no messages, or a row has no prompt.
        """
        rows = read_table(source, columns, required=(CHOSEN, REJECTED))
        return converted_pairs(rows, columns, left_out, source, _form())

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Render and tokenise both conversations of each row; see ``PreferencePairs.encode``.

        A longer prompt loses its beginning, equally for both answers.

        Raises:
            DataError: there is no usable chat template, or it renders a prompt in another way before an answer.
        """
        if len(rows) == 0:
            return []
        renderer = Renderer.create(tokenizer, self.chat_template)
        prompts, chosen, rejected = ([*map(_stored, rows[name][:])] for name in _MESSAGES.values())
        starts = [renderer.prompt_ids(prompt) for prompt in prompts]
        sides = [
            renderer.render([(*prompt, *answer) for prompt, answer in zip(prompts, answers, strict=True)])
            for answers in (chosen, rejected)
        ]
        examples = []
        for start, *pair in zip(starts, *sides, strict=True):
            if any(one.ids[: len(start)] != start for one in pair):
                raise DataError(
                    "the chat template renders a prompt in another way when an answer follows, so the tokens of the "
                    "answer cannot be found. Give another template with data.chat_template: FILE.jinja"
                )
            # Tokens behind the end of the last turn, such as a line break, belong to no answer.
            ends = [max(at for at, learnt in enumerate(one.mask) if learnt) + 1 for one in pair]
            answers = [one.ids[len(start) : end][: max_length - 1] for one, end in zip(pair, ends, strict=True)]
            masks = [one.mask[len(start) :][: len(answer)] for one, answer in zip(pair, answers, strict=True)]
            kept = start[max(0, len(start) + max(map(len, answers)) - max_length) :]
            examples.append(join([_sequence(kept, *side) for side in zip(answers, masks, strict=True)]))
        return examples


def _form() -> PairForm:
    """Return the form of pairs of conversations; their messages are further columns."""
    import pyarrow as pa

    messages = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
    further = dict.fromkeys(_MESSAGES.values(), messages)
    return PairForm(name="pairs of conversations", pair=_pair_of, further=further, needs_text=False)


def _pair_of(prompt: object, chosen: object, rejected: object) -> tuple[Pair, Mapping[str, object]]:
    parts = _parts(prompt, chosen, rejected)
    before, one, other = map(_text, parts)
    messages = ([message.to_json() for message in part] for part in parts)
    return Pair(prompt=before, chosen=one, rejected=other), dict(zip(_MESSAGES.values(), messages, strict=True))


def _parts(prompt: object, chosen: object, rejected: object) -> tuple[_Conversation, _Conversation, _Conversation]:
    """Return the messages of the prompt and of both answers.

    Raises:
        DataError: a cell has no messages, an answer has no assistant turn, or there is no prompt.
    """
    pair = [() if cell is None else read_messages(cell, Role.ASSISTANT) for cell in (chosen, rejected)]
    if prompt is None:
        both = enumerate(zip(*pair, strict=False))
        length = next((place for place, (one, other) in both if one != other), min(map(len, pair)))
        before, pair = pair[0][:length], [answer[length:] for answer in pair]
    else:
        before = read_messages(prompt)
    if not before:
        raise DataError(f"no prompt: without a column {PROMPT}, both answers must begin with the same messages")
    for name, answer in zip((CHOSEN, REJECTED), pair, strict=True):
        if answer and answer[-1].role is not Role.ASSISTANT:
            raise DataError(f"{name} must end with a turn of the assistant, got one of the {answer[-1].role}")
    return before, pair[0], pair[1]


def _text(messages: Sequence[Message]) -> str:
    return "\n\n".join(message.content for message in messages)


def _stored(messages: Sequence[Mapping[str, str]]) -> _Conversation:
    return tuple(map(Message.from_json, messages))


def _sequence(prompt: list[int], answer: list[int], mask: list[bool]) -> Example:
    labels = [token if learnt else IGNORED for token, learnt in zip(answer, mask, strict=True)]
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + labels}
