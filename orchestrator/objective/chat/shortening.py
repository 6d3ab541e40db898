"""Conversations longer than the limit of a row: earlier turns are left out first, then texts are cut.

1. Whole exchanges (a user's turn and its answers) are left out, the oldest first, until the rest fits. System messages
   stay.
2. The last answer keeps half of the limit, and more if its prompt is shorter. The user's last turn is cut at its end
   to the rest of the limit. If this is not enough, the prompt is cut at its start.
3. The answer is cut at its end.

So every row keeps tokens of its last answer.
"""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.objective.chat.messages import Message, Role
from orchestrator.objective.chat.template import Rendered, Renderer


def shorten(renderer: Renderer, messages: Sequence[Message], max_length: int) -> Rendered:
    """Return the tokens of a conversation that is too long, at most ``max_length`` of them.

    Args:
        renderer: renders the conversation.
        messages: a conversation that ends with an assistant turn.
        max_length: limit in tokens, from 2.
    """
    [rendered] = renderer.render([messages])
    while len(rendered.ids) > max_length and (fewer := _without_first_exchange(messages)) is not None:
        messages = fewer
        [rendered] = renderer.render([messages])
    if len(rendered.ids) <= max_length:
        return rendered
    answer = len(rendered.ids) - _prompt_length(rendered)
    room = min(max_length - 1, max(max_length - answer, max_length - max_length // 2))  # for the prompt
    while (excess := _prompt_length(rendered) - room) > 0:
        fewer = _cut_last_user(renderer, messages, excess)
        if fewer is None:
            break
        messages = fewer
        [rendered] = renderer.render([messages])
    start = max(0, _prompt_length(rendered) - room)
    return Rendered(
        ids=rendered.ids[start : start + max_length],
        mask=rendered.mask[start : start + max_length],
    )


def _prompt_length(rendered: Rendered) -> int:
    """Return the number of tokens before the last answer."""
    last = len(rendered.mask) - 1 - rendered.mask[::-1].index(True)
    return max((at + 1 for at in range(last) if not rendered.mask[at]), default=0)


def _without_first_exchange(messages: Sequence[Message]) -> tuple[Message, ...] | None:
    """Return the conversation without its oldest exchange; None if it has only one."""
    roles = [message.role for message in messages]
    answered = roles.index(Role.ASSISTANT)
    later = [at for at in range(answered, len(roles)) if roles[at] is Role.USER]
    if not later:
        return None
    systems = tuple(message for message in messages[: later[0]] if message.role is Role.SYSTEM)
    return (*systems, *messages[later[0] :])


def _cut_last_user(renderer: Renderer, messages: Sequence[Message], excess: int) -> tuple[Message, ...] | None:
    """Return the conversation without the last ``excess`` tokens of its last user turn with text; None without one."""
    at = max((i for i, m in enumerate(messages) if m.role is Role.USER and m.content), default=None)
    if at is None:
        return None
    content = messages[at].content
    tokens = renderer.tokenizer([content], add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    places = tokens["offset_mapping"][0]
    kept = max(0, len(places) - excess)
    end = min(places[kept][0], len(content) - 1) if kept < len(places) else 0
    return (*messages[:at], replace(messages[at], content=content[:end]), *messages[at + 1 :])
