"""How often somebody may ask for something, counted in the database for all replicas together."""

from datetime import datetime, timedelta

from peewee import Case, Value

from models import RateBucket
from models.base import new_id, to_ms
from services.runtime import Runtime


def spend(rt: Runtime, key: str, *, most: int, span: timedelta) -> datetime | None:
    """Count one of `most` in a window of `span` that begins with the first; answers when the next begins where it was too many.

    One statement, so that any number of replicas may spend from it at once.
    """
    now = rt.clock.now()
    over = RateBucket.reset_at <= now
    ((remaining, reset_at),) = (
        RateBucket.insert(id=new_id(), key=key, remaining=most - 1, reset_at=now + span)
        .on_conflict(
            conflict_target=[RateBucket.key],
            update={
                RateBucket.remaining: Case(None, [(over, most - 1)], RateBucket.remaining - 1),
                # a CASE does not know its columns' type: the time goes in as it is stored
                RateBucket.reset_at: Case(None, [(over, Value(to_ms(now + span), converter=False))], RateBucket.reset_at),
            },
        )
        .returning(RateBucket.remaining, RateBucket.reset_at)
        .tuples()
        .execute()
    )
    return reset_at if remaining < 0 else None
