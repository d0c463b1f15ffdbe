"""What the sandbox takes from this provider."""

from sandbox.calcom import api, consent, control, demo

blueprints = (api.blueprint, consent.blueprint, control.blueprint)
seed = demo.seed
