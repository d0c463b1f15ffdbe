"""Whether providers could be reached lately, told to all replicas; and whether this process is fit for work."""

from dataclasses import dataclass
from datetime import timedelta

from peewee import PeeweeException

from models import ProviderHealth
from models.base import UnsafeDatabaseError, check_settings, new_id, noted
from models.migrate import pending
from services import key_rotation
from services.clock import Clock
from services.runtime import Runtime

PAUSE = timedelta(seconds=20)
HEARTBEAT_LIMIT = 60.0


def tell(clock: Clock, provider: str, *, up: bool) -> None:
    """The breaker of one process opened or closed."""
    now = clock.now()
    values = (
        {ProviderHealth.down_since: None, ProviderHealth.retry_at: None}
        if up
        else {ProviderHealth.down_since: now, ProviderHealth.retry_at: now + PAUSE}
    )
    with noted("health"):
        list(
            ProviderHealth.insert(id=new_id(), provider=provider, down_since=None if up else now, retry_at=None if up else now + PAUSE)
            .on_conflict(conflict_target=[ProviderHealth.provider], update=values)
            .returning(ProviderHealth.id)
            .tuples()
            .execute()
        )


@dataclass(frozen=True)
class Readiness:
    """Each part, true when it is fit; `ready` when all are."""

    database: bool
    migrations: bool
    sealing_keys: bool
    """Every key with which another server seals is known here as well."""
    scheduler: bool

    @property
    def ready(self) -> bool:
        return self.database and self.migrations and self.sealing_keys and self.scheduler


def readiness(rt: Runtime, heartbeat_age: float | None) -> Readiness:
    """`heartbeat_age`: seconds since the scheduler's last tick in this process; None when it never ticked."""
    try:
        check_settings()
        migrated = not pending()
        keys = not (migrated and key_rotation.unknown(rt.vault))
    except (PeeweeException, UnsafeDatabaseError):
        return Readiness(database=False, migrations=False, sealing_keys=False, scheduler=_beats(heartbeat_age))
    beats = _beats(heartbeat_age) and not rt.stopping.is_set()
    return Readiness(database=True, migrations=migrated, sealing_keys=keys, scheduler=beats)


def _beats(age: float | None) -> bool:
    return age is not None and age < HEARTBEAT_LIMIT
