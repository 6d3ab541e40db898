"""Prefers one answer in a conversation over another: DPO and similar losses, in the chat template of the model."""

from orchestrator.core.data import Origin, Source
from orchestrator.objective.preference.chat import ChatPreferencePairs


class ChatPreference(ChatPreferencePairs):
    """The columns are ``prompt``, ``chosen`` and ``rejected``: lists of messages, or texts of one turn."""

    name = "chat_preference"
    default_source = Source(origin=Origin.LOCAL, name="preferences.jsonl")


OBJECTIVE = ChatPreference()
