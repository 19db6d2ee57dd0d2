"""Transcripts of the Claude Agent SDK in MongoDB.

`ClaudeAgentOptions(session_store=MongoSessionStore())` copies every transcript there, and a session resumes
from it on any machine.
"""

from mongostore.extras import explain_import

try:
    from mongostore.adapters.claude_agent_sdk.store import NAMESPACE, MongoSessionStore
except ImportError as _error:
    raise explain_import(__name__, "pip install 'mongostore[claude-agent-sdk]'", _error) from None

__all__ = ["NAMESPACE", "MongoSessionStore"]
