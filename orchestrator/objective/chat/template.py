"""Renders conversations with a chat template, and finds the tokens of the assistant's turns.

B: conversations. A turn's tokens are found by rendering: the text up to the turn, with the template's generation
prompt, and the text up to the turn's end are prefixes of the whole text. A template that changes earlier turns later
(some remove earlier thinking) has no such prefixes; it needs its own ``{% generation %}`` marks.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.core.errors import DataError
from orchestrator.objective.chat.messages import Message, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_PROBE = (Message(role=Role.USER, content="Hello?"), Message(role=Role.ASSISTANT, content="Yes."))
_GIVEN = "data.chat_template: FILE.jinja"


class Rendered(NamedTuple):
    """One conversation as tokens.

    Attributes:
        ids: T token ids.
        mask: T values, True at the tokens of the assistant's turns and of their ends.
    """

    ids: list[int]
    mask: list[bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Renderer:
    """A tokenizer with its chat template, or with a given one.

    Attributes:
        tokenizer: the base model's; it is not changed.
        template: the template's text in Jinja; None: the tokenizer's own.
        marks: whether the template marks the assistant's turns with ``{% generation %}``.
        end: id of the token that ends an assistant's turn.
    """

    tokenizer: "PreTrainedTokenizerBase"
    template: str | None
    marks: bool
    end: int

    @classmethod
    def create(cls, tokenizer: "PreTrainedTokenizerBase", template: str | None = None) -> "Renderer":
        """Return the renderer of a tokenizer.

        Args:
            tokenizer: the base model's.
            template: the template's text; None: the tokenizer's own.

        Raises:
            DataError: there is no template, it cannot be rendered, or no special token ends its assistant turns.
        """
        own = template or tokenizer.chat_template
        if isinstance(own, dict):
            own = own.get("default")
        if not own:
            raise DataError(
                f"the tokenizer of {tokenizer.name_or_path} has no chat template. Give one with {_GIVEN}, or take an "
                "instruction-tuned model"
            )
        if not tokenizer.is_fast:
            raise DataError(
                f"the tokenizer of {tokenizer.name_or_path} does not tell the places of its tokens in the text, so the "
                "assistant's turns cannot be found. Take a model with a tokenizer.json"
            )
        renderer = cls(tokenizer=tokenizer, template=template, marks=bool(_MARK.search(own)), end=-1)
        renderer = replace(renderer, end=renderer._end())
        renderer._require_learnt_end()
        return renderer

    def text(self, messages: Sequence[Message], *, prompt: bool = False) -> str:
        """Return a conversation as text, at the end with the start of an assistant turn if ``prompt``.

        Raises:
            DataError: the template refuses the conversation.
        """
        try:
            rendered: Any = self.tokenizer.apply_chat_template(
                [message.to_json() for message in messages],
                chat_template=self.template,
                add_generation_prompt=prompt,
                tokenize=False,
            )
        except Exception as error:  # Jinja raises several families of errors, and templates raise their own
            raise _refused(messages, error) from error
        return str(rendered)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a conversation, with the start of the assistant turn to be written."""
        return self._ids([self.text(messages, prompt=True)])[0]

    def render(self, conversations: Sequence[Sequence[Message]]) -> list[Rendered]:
        """Return the tokens of B conversations.

        A turn's tokens end with the last special token after its content; white space after it is not a part of it.

        Raises:
            DataError: the template refuses a conversation, or its assistant turns cannot be found.
        """
        if not conversations:
            return []
        if self.marks:
            return [self._by_marks(messages) for messages in conversations]
        texts = [self.text(messages) for messages in conversations]
        spans = [self._spans(messages, text) for messages, text in zip(conversations, texts, strict=True)]
        encoded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], spans, strict=True)
        return [Rendered(ids=ids, mask=self._mask(ids, places, turns)) for ids, places, turns in rows]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _spans(self, messages: Sequence[Message], whole: str) -> list[tuple[int, int]]:
        """Return the first and last place of each assistant turn in the text."""
        found = []
        for place, message in enumerate(messages):
            if message.role is not Role.ASSISTANT:
                continue
            before = self.text(messages[:place], prompt=True)
            upto = whole if place + 1 == len(messages) else self.text(messages[: place + 1])
            if not (whole.startswith(before) and whole.startswith(upto) and len(before) < len(upto)):
                raise DataError(
                    f"the chat template renders turn {place + 1} of {_shown(messages)} in another way when later turns "
                    "follow, or after its generation prompt, so the tokens of this turn cannot be found. Mark the "
                    f"assistant's turns in a template of your own with {{% generation %}}, and give it with {_GIVEN}"
                )
            found.append((len(before), len(upto)))
        return found

    def _mask(
        self, ids: Sequence[int], places: Sequence[tuple[int, int]], turns: Sequence[tuple[int, int]]
    ) -> list[bool]:
        """Return the mask of the tokens: those of the turns, up to the last special token of each."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        mask = [False] * len(ids)
        for first, last in turns:
            tokens = [at for at, (start, end) in enumerate(places) if start < last and end > first and start < end]
            ends = [at for at in tokens if ids[at] in special]
            for at in tokens:
                mask[at] = not ends or at <= ends[-1]
        return mask

    def _by_marks(self, messages: Sequence[Message]) -> Rendered:
        """Return a conversation with the mask of the template's own marks.

        Raises:
            DataError: the marks leave an assistant turn without a token.
        """
        try:
            encoded: Any = self.tokenizer.apply_chat_template(
                [message.to_json() for message in messages],
                chat_template=self.template,
                tokenize=True,
                return_dict=True,
                return_assistant_tokens_mask=True,
            )
        except Exception as error:  # as in ``text``
            raise _refused(messages, error) from error
        mask = [bool(value) for value in encoded["assistant_masks"]]
        turns = sum(message.role is Role.ASSISTANT for message in messages)
        begins = sum(here and not (at and mask[at - 1]) for at, here in enumerate(mask))
        if begins < turns:
            raise DataError(
                f"the chat template marks {begins} of the {turns} assistant turns of {_shown(messages)}. Set "
                "{% generation %} before the content and {% endgeneration %} after the end token of each"
            )
        return Rendered(ids=[*encoded["input_ids"]], mask=mask)

    def _require_learnt_end(self) -> None:
        """Raise ``DataError`` if the template's marks leave the end token of an answer out."""
        if not self.marks:
            return
        ids, mask = self._by_marks(_PROBE)
        if not any(learnt and token == self.end for token, learnt in zip(ids, mask, strict=True)):
            raise DataError(
                "the chat template ends an assistant turn after {% endgeneration %}, so the model would not learn to "
                f"end its answers. Set {{% endgeneration %}} after the end token, in a template given with {_GIVEN}"
            )

    def _end(self) -> int:
        """Return the id of the first special token after an assistant's content."""
        text = self.text(_PROBE)
        content = _PROBE[-1].content
        at = text.rfind(content)
        encoded = self.tokenizer([text], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        after = [
            token
            for token, (start, _) in zip(encoded["input_ids"][0], encoded["offset_mapping"][0], strict=True)
            if token in special and start >= at + len(content)
        ]
        if at < 0 or not after:
            raise DataError(
                "the chat template sets no special token at the end of an assistant turn, so no answer would end. "
                f"Write {{{{ eos_token }}}} after the content, in a template given with {_GIVEN}"
            )
        return int(after[0])


def _refused(messages: Sequence[Message], error: Exception) -> DataError:
    return DataError(
        f"the chat template refuses {_shown(messages)}: {type(error).__name__}: {error}. Change the row, or "
        f"give another template with {_GIVEN}"
    )


def _shown(messages: Sequence[Message]) -> str:
    """Return the roles and the first words of a conversation."""
    roles = ", ".join(message.role for message in messages[:6])
    first = next((m.content for m in messages if m.role is not Role.SYSTEM), "")
    start = " ".join(first.split())[:60]
    return f"the conversation {start!r} ({roles}{' …' if len(messages) > 6 else ''})"
