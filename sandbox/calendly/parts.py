"""What the sandbox takes from this provider."""

from sandbox.calendly import api, consent, control, demo, oauth, web

blueprints = (api.blueprint, oauth.blueprint, consent.blueprint, web.blueprint, control.blueprint)
seed = demo.seed
