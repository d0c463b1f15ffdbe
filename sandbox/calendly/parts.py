"""What the sandbox takes from this provider."""

from sandbox.calendly import control, demo

blueprints = (control.blueprint,)
seed = demo.seed
