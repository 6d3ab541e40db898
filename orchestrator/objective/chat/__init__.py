"""Conversations: reading them, and rendering them with a chat template."""

from orchestrator.objective.chat.messages import Message, Role, read_messages
from orchestrator.objective.chat.objective import ChatCompletion
from orchestrator.objective.chat.template import Rendered, Renderer

__all__ = ["ChatCompletion", "Message", "Rendered", "Renderer", "Role", "read_messages"]
