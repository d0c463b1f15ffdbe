"""Prometheus metrics, one registry per process, made by the composition root."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """All counters in one place, so that docs and alerts have one list to follow."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http_requests = self._counter("convene_http_requests_total", "Requests answered", "route", "status")
        self.http_seconds = Histogram("convene_http_request_seconds", "Time to answer", ["route"], registry=self.registry)
        self.provider_calls = self._counter("convene_provider_calls_total", "Calls to providers", "provider", "operation", "outcome")
        self.provider_seconds = Histogram(
            "convene_provider_call_seconds", "Time of one call to a provider", ["provider", "operation"], registry=self.registry
        )
        self.token_refreshes = self._counter("convene_token_refreshes_total", "Token exchanges by outcome", "provider", "outcome")
        self.webhooks_received = self._counter("convene_webhooks_received_total", "Deliveries by intake result", "provider", "result")
        self.webhooks_applied = self._counter(
            "convene_webhooks_applied_total", "Stored deliveries by what became of them", "provider", "result"
        )
        self.operations = self._counter("convene_operations_total", "Booking operations by kind and end", "kind", "state")
        self.deliveries = self._counter("convene_deliveries_total", "E-mails by what became of a try", "result")
        self.job_runs = self._counter("convene_job_runs_total", "Pieces of work done", "job", "result")
        self.free_texts = self._counter("convene_free_texts_total", "Operations that the manifest of trusted documents does not have")
        self.errors = self._counter("convene_unexpected_errors_total", "Masked surprises", "where")
        self.scheduler_heartbeat = Gauge(
            "convene_scheduler_heartbeat_seconds", "Unix time of the scheduler's last tick", registry=self.registry
        )

        self.audit_seq = Gauge("convene_audit_seq", "Number of the last chained audit entry", registry=self.registry)
        self.audit_waiting = Gauge("convene_audit_waiting", "Audit entries that are not chained yet", registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, list(labels), registry=self.registry)
