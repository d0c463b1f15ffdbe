"""What the sandbox takes from this provider."""

from sandbox.zoom import api, consent, control, demo, oauth, pages, recording_routes, web

blueprints = (
    api.blueprint,
    api.regional,
    oauth.blueprint,
    consent.blueprint,
    recording_routes.files,
    web.blueprint,
    pages.blueprint,
    control.blueprint,
)
seed = demo.seed
