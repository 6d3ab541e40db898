"""Instruction tuning: answers the last turn of a conversation, with the chat template of the model."""

from orchestrator.core.data import Origin, Source
from orchestrator.objective.chat import ChatCompletion


class Chat(ChatCompletion):
    """Conversations in the columns ``messages``, or ``prompt`` and ``completion``; no data set is the default."""

    name = "chat"
    default_source = Source(origin=Origin.LOCAL, name="chat.jsonl")


OBJECTIVE = Chat()
