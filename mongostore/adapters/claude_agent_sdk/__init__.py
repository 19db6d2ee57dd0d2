"""Transcripts of the Claude Agent SDK in MongoDB.

`ClaudeAgentOptions(session_store=MongoSessionStore())` copies every transcript there, and a session resumes
from it on any machine.
"""

from mongostore.adapters.claude_agent_sdk.store import NAMESPACE, MongoSessionStore

__all__ = ["NAMESPACE", "MongoSessionStore"]
