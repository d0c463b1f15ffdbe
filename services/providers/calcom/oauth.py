"""Cal.com's "Continue with Cal.com": authorization code with PKCE (api-reference/v2/oauth).

The client id and secret go into the body, never into Basic. Access tokens live 30 minutes, refresh tokens 30 days; a
refresh deletes every other refresh token of the same client and account.
"""

# What Convene calls needs exactly these; WRITE does not include READ.
SCOPES = (
    "PROFILE_READ",
    "EVENT_TYPE_READ",
    "EVENT_TYPE_WRITE",
    "SCHEDULE_READ",
    "SCHEDULE_WRITE",
    "APPS_READ",
    "BOOKING_READ",
    "BOOKING_WRITE",
    "WEBHOOK_READ",
    "WEBHOOK_WRITE",
)
