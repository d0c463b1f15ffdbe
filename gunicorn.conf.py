"""Gunicorn's settings, read by itself from this folder: `gunicorn 'app:create_app()'`.

The scheduler lives in the worker: started when the worker is ready, stopped before it exits. Never use --preload: a
fork keeps the scheduler's flag and loses its threads. More than one thread is needed: Cal.com delivers our webhook
before it answers us.
"""

import os
import signal
import sys
import threading
import time

bind = f"{os.environ.get('CONVENE_HOST', '127.0.0.1')}:{os.environ.get('CONVENE_PORT') or os.environ.get('PORT') or 8000}"
workers = 1
worker_class = "routes.worker.Worker"
threads = int(os.environ.get("CONVENE_THREADS", "48"))
timeout = 60
# how long new requests are taken while /ready says 503 already: a balancer needs a moment to see it
drain = int(os.environ.get("CONVENE_DRAIN_SECONDS") or 0)
graceful_timeout = 30 + drain
keepalive = 5
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190
accesslog = None
preload_app = False
# it would be one file for all installations of this user, and the first to stop takes it away from the others
control_socket_disable = True


def on_starting(server):  # noqa: ANN001, ANN201, ARG001 - gunicorn's signature
    import settings  # noqa: PLC0415 - after gunicorn has put this folder on the path
    from services import key_rotation  # noqa: PLC0415

    try:
        loaded, _ = settings.load()
    except settings.SettingsError as error:
        # once and plainly, before any worker is started
        sys.exit(str(error))
    if refusal := key_rotation.refusal(loaded):
        sys.exit(refusal)
    if loaded.trusted_documents_mode != "off":
        _check_documents(loaded)


def _check_documents(loaded):  # noqa: ANN001, ANN202
    from schema.root import schema  # noqa: PLC0415
    from schema.trusted_documents import ManifestError, TrustedDocuments  # noqa: PLC0415

    try:
        TrustedDocuments.load(schema._schema, loaded.trusted_documents_mode, loaded.trusted_documents)  # noqa: SLF001
    except ManifestError as error:
        sys.exit(f"Convene cannot start: CONVENE_TRUSTED_DOCUMENTS is not good.\n{error}")


def post_worker_init(worker):  # noqa: ANN001, ANN201 - gunicorn's signature
    convene = worker.wsgi.extensions["convene"]
    # a request waits for Python's lock at each of its reads and writes, and a job may keep it for five milliseconds each time
    sys.setswitchinterval(0.0005)
    convene.scheduler.start()

    def stop(number, frame):  # noqa: ANN001, ANN202
        # the jobs end while the requests do: one after the other might take longer than the grace
        convene.rt.stopping.set()
        if not drain:
            worker.handle_exit(number, frame)

    def leave():  # noqa: ANN202
        """The master has let go of the socket and waits; the worker still accepts from it for a while."""
        convene.rt.stopping.wait()
        time.sleep(drain)
        worker.handle_exit(signal.SIGTERM, None)

    if drain:
        # not by the signal's handler, which may come while this thread makes another one and holds the lock for that
        threading.Thread(target=leave, name="leave", daemon=True).start()
    signal.signal(signal.SIGTERM, stop)


def worker_int(worker):  # noqa: ANN001, ANN201
    worker.wsgi.extensions["convene"].rt.stopping.set()


def worker_exit(server, worker):  # noqa: ANN001, ANN201, ARG001
    application = getattr(worker, "wsgi", None)
    if application is not None:
        convene = application.extensions["convene"]
        convene.scheduler.stop()
        convene.rt.transport.close()
