"""What the sandbox takes from this provider."""

from sandbox.zoom import control, demo

blueprints = (control.blueprint,)
seed = demo.seed
