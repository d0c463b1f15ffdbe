"""The control face of the sandbox's Zoom, under `/_sandbox/zoom`. All bodies and answers are JSON."""

from flask import Blueprint

blueprint = Blueprint("zoom_control", __name__, url_prefix="/_sandbox/zoom")
