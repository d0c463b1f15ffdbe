"""Calendly's OAuth: authorization code with PKCE; Basic authentication at the token endpoint.

Access tokens live two hours. A refresh token works once and has no grace: when an answer is lost, the connection is
(docs/authentication/refresh-token-rotation-guide). Scopes must be asked for since March 2026, and people may untick some.
"""

# `X:write` includes `X:read`. Slots want event_types:read by one page and availability:read by another: both are there.
SCOPES = (
    "users:read",
    "organizations:read",
    "event_types:write",
    "availability:read",
    "scheduled_events:write",
    "webhooks:write",
)
