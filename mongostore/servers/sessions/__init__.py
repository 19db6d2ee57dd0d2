"""The sessions service: sessions of namespaces, their participants and integrations, over HTTP."""

from mongostore.extras import explain_import

try:
    from mongostore.servers.error_responses import DEFAULT_HTTP_ERROR_RESPONSES
    from mongostore.servers.sessions.app import create_app
    from mongostore.servers.sessions.models import (
        ChatTurnsAppendRequestV1,
        ChatTurnsV1,
        ChatTurnV1,
        IntegrationResultV1,
        ParticipantIntegrationV1,
        ParticipantV1,
        SessionCreateRequestV1,
        SessionPageV1,
        SessionUpdateRequestV1,
        SessionV1,
    )
    from mongostore.servers.sessions.parameters import job_pool_dependency
    from mongostore.servers.sessions.routes import (
        RESOURCE_SESSIONS,
        bind_participant,
        create_session,
        get_session,
        integrate_session,
        list_sessions,
        sessions_router,
        soft_delete_session,
        truncate_session,
        unbind_participant,
        undelete_session,
        update_session,
    )
    from mongostore.servers.sessions.turn_routes import append_chat_turns
except ImportError as _error:
    raise explain_import(__name__, "pip install 'mongostore[api]'", _error) from None

__all__ = [
    "DEFAULT_HTTP_ERROR_RESPONSES",
    "RESOURCE_SESSIONS",
    "ChatTurnV1",
    "ChatTurnsAppendRequestV1",
    "ChatTurnsV1",
    "IntegrationResultV1",
    "ParticipantIntegrationV1",
    "ParticipantV1",
    "SessionCreateRequestV1",
    "SessionPageV1",
    "SessionUpdateRequestV1",
    "SessionV1",
    "append_chat_turns",
    "bind_participant",
    "create_app",
    "create_session",
    "get_session",
    "integrate_session",
    "job_pool_dependency",
    "list_sessions",
    "sessions_router",
    "soft_delete_session",
    "truncate_session",
    "unbind_participant",
    "undelete_session",
    "update_session",
]
