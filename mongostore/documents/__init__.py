"""The stored form of every entity."""

from __future__ import annotations

# In alphabetical order; `files.…` are GridFS's own layout.
COLLECTIONS = (
    *("api_keys", "bindings", "elements", "erasures", "events", "files.chunks", "files.files"),
    *("identities", "identity_addresses", "leases", "messages", "observations", "participants"),
    *("read_markers", "rooms"),
    *("session_insights", "session_overflows", "session_segments", "session_turns", "sessions", "tasks"),
    *("threads", "users"),
    *("verification_requests", "verifications", "voice_deliveries"),
)
