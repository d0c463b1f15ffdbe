"""The control face of the sandbox's Calendly, under `/_sandbox/calendly`. All bodies and answers are JSON."""

from flask import Blueprint

blueprint = Blueprint("calendly_control", __name__, url_prefix="/_sandbox/calendly")
