"""Prometheus metrics, one registry per process, made by the composition root. docs/operations.md lists and explains them.

Counters and times are this process's own. What is said of the database (services/figures.py) is said by every process
alike, so it is not to be added up.
"""

from peewee import QueryEvent
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector


class Metrics:
    """All of them in one place, so that docs and alerts have one list to follow."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.http_requests = self._counter("convene_http_requests_total", "Requests answered", "route", "status")
        self.http_seconds = Histogram("convene_http_request_seconds", "Time to answer", ["route"], registry=self.registry)
        self.provider_calls = self._counter("convene_provider_calls_total", "Calls to providers", "provider", "operation", "outcome")
        self.provider_seconds = Histogram(
            "convene_provider_call_seconds", "Time of one call to a provider", ["provider", "operation"], registry=self.registry
        )
        self.token_refreshes = self._counter("convene_token_refreshes_total", "Token exchanges by outcome", "provider", "outcome")
        self.token_waits = self._counter("convene_token_waits_total", "Calls that had to wait for a token exchange", "provider")
        self.webhooks_received = self._counter("convene_webhooks_received_total", "Deliveries by intake result", "provider", "result")
        self.webhooks_applied = self._counter(
            "convene_webhooks_applied_total", "Stored deliveries by what became of them", "provider", "result"
        )
        self.operations = self._counter("convene_operations_total", "Booking operations by kind and end", "kind", "state")
        self.deliveries = self._counter("convene_deliveries_total", "E-mails by what became of a try", "result")
        self.job_runs = self._counter("convene_job_runs_total", "Pieces of work done", "job", "result")
        self.free_texts = self._counter("convene_free_texts_total", "Operations that the manifest of trusted documents does not have")
        self.errors = self._counter("convene_unexpected_errors_total", "Masked surprises", "where")
        self.database_errors = self._counter("convene_database_errors_total", "Statements that failed, by the kind of error", "kind")
        self._of_process()
        self._of_queues()
        self._of_installation()

    def _of_process(self) -> None:
        """Read at each scrape (services/gauges.py); the heartbeat when it beats."""
        self.scheduler_heartbeat = self._gauge("convene_scheduler_heartbeat_seconds", "Unix time of the scheduler's last tick")
        self.figures_at = self._gauge("convene_figures_seconds", "Unix time at which the database was last looked at for metrics")
        self.circuit_open = self._gauge("convene_provider_circuit_open", "1 while calls are held back after failures", "provider")
        self.live_streams = self._gauge("convene_live_streams", "Live streams that are open")
        self.live_streams_max = self._gauge("convene_live_streams_max", "Live streams that this process takes")
        self.connections = self._gauge("convene_database_connections", "Connections in use, idle, and awaited right now", "state")
        self.connections_max = self._gauge("convene_database_connections_max", "Connections that this process may have")
        self.disk_free = self._gauge("convene_database_disk_free_bytes", "Room left where the file lies", "database")

    def _of_queues(self) -> None:
        self.webhooks_waiting = self._gauge("convene_webhooks_waiting", "Deliveries not applied yet", "state")
        self.webhooks_oldest = self._gauge("convene_webhooks_oldest_seconds", "Age of the oldest delivery not applied yet")
        self.webhooks_overdue = self._gauge("convene_webhooks_overdue_seconds", "How late the most overdue delivery is")
        self.webhooks_dead = self._gauge("convene_webhooks_dead", "Deliveries given up that nobody has dealt with")
        self.outbox_waiting = self._gauge("convene_outbox_waiting", "E-mails not sent yet", "state")
        self.outbox_oldest = self._gauge("convene_outbox_oldest_seconds", "Age of the oldest e-mail not sent yet")
        self.outbox_overdue = self._gauge("convene_outbox_overdue_seconds", "How late the most overdue e-mail is")
        self.outbox_dead = self._gauge("convene_outbox_dead", "E-mails given up that nobody has dealt with")
        self.operations_open = self._gauge("convene_operations_open", "Booking changes under way")
        self.operations_oldest = self._gauge("convene_operations_oldest_seconds", "Age of the oldest booking change under way")
        self.operations_attention = self._gauge("convene_operations_attention", "Booking changes that somebody has to look at")
        self.jobs_overdue = self._gauge("convene_jobs_overdue", "Pieces of work that are due and in nobody's hands", "kind")
        self.jobs_lag = self._gauge("convene_jobs_lag_seconds", "How late the most overdue of them is", "kind")

    def _of_installation(self) -> None:
        self.accounts = self._gauge("convene_accounts", "Linked accounts by state", "provider", "state")
        self.provider_down = self._gauge("convene_provider_down_seconds", "For how long a provider cannot be reached; 0 else", "provider")
        self.budgets_low = self._gauge("convene_provider_budgets_low", "Accounts with few calls left of a rate limit", "provider")
        self.budgets_spent = self._gauge("convene_provider_budgets_spent", "Accounts with none left until it resets", "provider")
        self.audit_seq = self._gauge("convene_audit_seq", "Number of the last chained audit entry")
        self.audit_waiting = self._gauge("convene_audit_waiting", "Audit entries that are not chained yet")
        self.database_bytes = self._gauge("convene_database_bytes", "Size of the database")
        self.migrations_pending = self._gauge("convene_migrations_pending", "Migrations that this code has and the database does not")

    def note_statement(self, event: QueryEvent) -> None:
        """Told of every statement by the database."""
        if event.exception is not None:
            self.database_errors.labels(type(event.exception).__name__).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, list(labels), registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, list(labels), registry=self.registry)
