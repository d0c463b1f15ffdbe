"""The composition root: wires everything, decides nothing."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from flask_cors import CORS

import settings as configuration
from models.base import connect, release_connection, use_clock
from routes import audit, common, development, doors, events, graphql, oauth, operations, tokens, webhooks
from schema.execution import Executor
from schema.root import schema
from schema.trusted_documents import TrustedDocuments
from services import health, identity, jobs, logging
from services.budgets import Budgets
from services.clock import Clock, SystemClock
from services.live_feed import Feed
from services.metrics import Metrics
from services.providers.base import ProviderSettings
from services.providers.registry import PROVIDERS
from services.providers.transport import Transport
from services.runtime import DemoPerson, Runtime
from services.tokens import AccountTokens
from services.vault import Vault

STATEMENT_SECONDS = 20.0
DEVELOPMENT_KEY = Path("var/development-issuer.json")
DEMO_PEOPLE = (
    DemoPerson("coach@demo.test", "Clara Coach", "Europe/Berlin"),
    DemoPerson("mentee@demo.test", "Max Mentee", "America/New_York"),
    DemoPerson("coach2@demo.test", "Cora Calendly", "Europe/Berlin"),
    DemoPerson("mentee2@demo.test", "Mia Mentee", "America/New_York"),
    DemoPerson("guest@demo.test", "Gina Guest", "Europe/London"),
    DemoPerson("admin@demo.test", "Ada Admin", "UTC", admin=True),
)


@dataclass
class Convene:
    """The parts of one process, for gunicorn.conf.py, scripts and tests."""

    rt: Runtime
    scheduler: jobs.Scheduler
    verifier: identity.Verifier


def assemble(settings: configuration.Settings, providers: dict[str, ProviderSettings], *, clock: Clock | None = None) -> Convene:
    """Wire the services, without any face. The models are bound to the database of `settings`."""
    clock = clock or SystemClock(timedelta(seconds=settings.clock_offset_seconds))
    # a live stream holds a thread and no connection; all of them share one reader
    connections = settings.threads - settings.most_live_streams + jobs.THREADS + 1
    database = connect(settings.database_url, pool_size=connections, patience=STATEMENT_SECONDS)
    use_clock(clock.now)
    metrics, budgets = Metrics(), Budgets(clock)
    database.query_hooks.append(metrics.note_statement)
    key = _development_key() if settings.development else None
    rt = Runtime(
        settings=settings,
        clock=clock,
        vault=Vault(settings.sealing_keys),
        metrics=metrics,
        providers={},
        sandboxes=frozenset(s for s, p in providers.items() if urlsplit(p.api_url).hostname in configuration.LOOPBACK),
        demo_people=DEMO_PEOPLE if settings.development else (),
        legacy_webhook_secret=getattr(providers.get("calcom"), "webhook_secret", ""),
    )
    rt.transport = Transport(
        tokens=AccountTokens(rt),
        budget=budgets,
        now=clock.now,
        release=release_connection,
        health=lambda slug, up: health.tell(clock, slug, up=up),
        metrics=metrics,
    )
    rt.live = Feed(clock, metrics, rt.stopping, settings.most_live_streams)
    for slug, kind in PROVIDERS.items():
        # each provider is built from the settings class it declares itself
        rt.providers[slug] = kind(providers[slug], rt.transport, clock.now)  # type: ignore[call-arg]
    local_keys = identity.development_keys(key) if key else None
    verifier = identity.Verifier(settings, clock, rt.transport.get_public, local_keys)
    return Convene(rt, jobs.Scheduler(rt, budgets), verifier)


def create_app(settings: configuration.Settings | None = None, *, convene: Convene | None = None) -> Flask:
    """The WSGI application. Without arguments everything comes from the environment; jobs are not started here."""
    if convene is None:
        loaded, providers = configuration.load()
        logging.configure(loaded.log_level)
        convene = assemble(settings or loaded, providers)
    rt = convene.rt
    Executor.on = rt.settings.fast_execution
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.extensions["convene"] = convene
    common.install(app, rt)
    documents = TrustedDocuments.load(schema._schema, rt.settings.trusted_documents_mode, rt.settings.trusted_documents)  # noqa: SLF001
    app.register_blueprint(graphql.blueprint(rt, convene.verifier, doors.install(app, rt), documents))
    app.register_blueprint(oauth.blueprint(rt))
    app.register_blueprint(webhooks.blueprint(rt))
    app.register_blueprint(tokens.blueprint(rt, convene.verifier))
    app.register_blueprint(events.blueprint(rt))
    app.register_blueprint(audit.blueprint(rt, convene.verifier))
    app.register_blueprint(operations.blueprint(rt, convene.scheduler.heartbeat_age))
    if rt.settings.development:
        app.register_blueprint(development.blueprint(rt, lambda email: _issue(rt, email)))
    CORS(
        app,
        origins=list(rt.settings.allowed_origins),
        allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "X-Request-Id"],
        expose_headers=["Retry-After", "X-Request-Id"],
        methods=["GET", "POST"],
        max_age=600,
    )
    return app


def _development_key() -> dict[str, str]:
    """The key of the development issuer; made once and kept, so that tokens survive a restart."""
    if not DEVELOPMENT_KEY.exists():
        DEVELOPMENT_KEY.parent.mkdir(parents=True, exist_ok=True)
        DEVELOPMENT_KEY.touch(mode=0o600)
        DEVELOPMENT_KEY.write_text(identity.new_development_key())
    key: dict[str, str] = json.loads(DEVELOPMENT_KEY.read_text())
    return key


def _issue(rt: Runtime, email: str) -> tuple[str, float] | None:
    person = next((p for p in rt.demo_people if p.email == email), None)
    if person is None:
        return None
    return identity.development_token(_development_key(), rt.clock, person)
