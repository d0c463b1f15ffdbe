"""Gunicorn's settings for what is compared: the same for every Python server but for its worker class."""

import os

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class = os.environ.get("BENCH_WORKER", "gthread")
threads = 16
keepalive = 75
accesslog = None
preload_app = False
control_socket_disable = True
