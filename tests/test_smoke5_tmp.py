import json
from harness import BOOKING, ONE_BOOKING, MOVE, OPERATION, AVAILABILITY, Caller, World, at, iso
from calendly_people import *
from models import Operation, Hold

CREATE = """mutation($input: CreateBookingInput!) { createBooking(input: $input) { __typename
  ... on BookingCreated { booking { ...B } warnings { code message } } ... on BookingAwaitingConfirmation { booking { ...B } warnings { code } }
  ... on BookingInProgress { operation { id state } }
  ... on SlotUnavailable { canAccept alternatives { start end } conflicts { participant { name } role reason start end } }
  ... on SourceUnverified { role canAccept } ... on InvalidInput { fields { path message } }
  ... on QuotaExhausted { resetAt } ... on Problem { code message } } }""" + BOOKING
DECIDE = """mutation($input: DecideBookingInput!) { %s(input: $input) { __typename
  ... on BookingDecided { booking { ...B } } ... on DecisionInProgress { operation { id } } ... on StaleBooking { booking { id status } }
  ... on SlotUnavailable { conflicts { role reason } } ... on Problem { code message } } }""" + BOOKING
EXPLAIN = """query($input: ExplainSlotInput!) { explainSlot(input: $input) { __typename
  ... on SlotExplanation { available reasons { reason message role participant { name } } } ... on Problem { code message } } }"""
KINDS = "query($h: ID) { eventTypes(hostId: $h) { edges { node { id title host { id } } } } }"

def kind(c): return c.one(KINDS, h=None)["edges"][0]["node"]
def create(c, kid, start, key="b1", **more):
    return c.one(CREATE, input={"eventTypeId": kid, "start": iso(start), "idempotencyKey": key, **more})

def test_create_calcom(world: World):
    clara = world.coach(); max_ = world.caller("Max")
    k = kind(clara)
    r = create(max_, k["id"], at(2, 9))
    print(json.dumps(r, indent=1)[:1500])
    assert r["__typename"] == "BookingCreated"
    assert [b["id"] for b in clara.bookings()] == [r["booking"]["id"]]
    again = create(max_, k["id"], at(2, 9))
    assert again == r
    assert len(world.live_uids()) == 1
    world.jobs()
    assert len(clara.bookings()) == 1
    print(clara.notifications()); print(max_.notifications())
    taken = create(world.caller("Otto"), k["id"], at(2, 9))
    print(taken)
    assert taken["__typename"] == "SlotUnavailable" and len(taken["alternatives"]) == 5
    assert Hold.select().count() == 0

def test_create_calendly(world: World):
    cora = calendly_coach(world); mia = world.caller("Mia")
    k = kind(cora)
    r = create(mia, k["id"], at(2, 9))
    print(json.dumps(r)[:900])
    assert r["__typename"] == "BookingCreated", r
    hear(world)
    assert len(cora.bookings()) == 1 and live_events(world) == 1
    print([ (n["kind"], n["body"]) for n in cora.notifications()])
    assert len(cora.notifications()) == 1 == len(mia.notifications())

def test_move_calendly(world: World):
    cora = calendly_coach(world); mia = world.caller("Mia")
    invite(world, cora, "Call", at(2, 9), "Mia", email=mia.email); hear(world)
    b = mia.bookings()[0]
    print(b["rescheduling"])
    r = mia.move(b["id"], at(3, 10))
    print(json.dumps(r)[:900])
    assert r["__typename"] == "BookingRescheduled", r
    hear(world); world.move_clock(minutes=6); world.jobs(); hear(world)
    assert live_events(world) == 1
    assert len(cora.bookings()) == 1 and cora.bookings()[0]["id"] == b["id"], cora.bookings()
    assert cora.bookings()[0]["start"] == iso(at(3, 10))
    print([ (n["kind"], n["body"]) for n in cora.notifications()])
    assert [n["kind"] for n in cora.notifications()] == ["MOVED", "BOOKED"]
    world.move_clock(hours=2); world.jobs(); hear(world)
    assert [n["kind"] for n in cora.notifications()] == ["MOVED", "BOOKED"]
    r = cora.move(b["id"], at(3, 10, 15), key="o")
    assert r["__typename"] == "RescheduleOnProviderPage", r
    r = cora.move(b["id"], at(4, 10), key="z", reason="why")
    assert r["__typename"] == "BookingRescheduled", r
    hear(world)
    assert len(cora.bookings()) == 1 and live_events(world) == 1
    h = cora.one(ONE_BOOKING, id=b["id"])
    print(json.dumps(h)[:1500])

def test_decide(world: World):
    policy = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    clara = world.coach(eventTypes=[{"title": "Deep", "slug": "deep", "lengthInMinutes": 30, "confirmationPolicy": policy}])
    max_, otto = world.caller("Max"), world.caller("Otto")
    k = kind(clara)
    r = create(max_, k["id"], at(2, 9))
    assert r["__typename"] == "BookingAwaitingConfirmation", r
    world.book(clara, at(2, 9), name="Otto", slug="deep", force=True, status="pending"); world.jobs()
    bs = clara.bookings(); assert len(bs) == 2
    bid = r["booking"]["id"]; other = [b["id"] for b in bs if b["id"] != bid][0]
    assert max_.one(DECIDE % "confirmBooking", input={"bookingId": bid, "idempotencyKey": "c"})["__typename"] == "NotPermitted"
    d = clara.one(DECIDE % "confirmBooking", input={"bookingId": bid, "idempotencyKey": "c"})
    assert d["__typename"] == "BookingDecided" and d["booking"]["status"] == "CONFIRMED", d
    d = clara.one(DECIDE % "confirmBooking", input={"bookingId": other, "idempotencyKey": "c2"})
    assert d["__typename"] == "SlotUnavailable", d
    d = clara.one(DECIDE % "declineBooking", input={"bookingId": other, "idempotencyKey": "c3", "reason": "no"})
    assert d["__typename"] == "BookingDecided" and d["booking"]["status"] == "DECLINED", d
    print([(n["kind"], n["body"]) for n in max_.notifications()], [(n["kind"], n["body"]) for n in otto.notifications()])

def test_explain(world: World):
    clara = world.coach(); max_ = world.caller("Max"); k = kind(clara)
    world.sandbox_call("calcom/busy", email=clara.email, start=iso(at(2, 13)), end=iso(at(2, 14)))
    world.book(clara, at(2, 9)); world.jobs()
    for who in (clara, max_):
        for t in (at(2,9), at(2,13), at(2,9,15), at(2,20), at(1,9), at(2,10), at(2,10,10), at(1,1)):
            r = who.one(EXPLAIN, input={"target": {"eventTypeId": k["id"]}, "start": iso(t)})
            print(who.name, iso(t), r.get("available"), [x["reason"] for x in r.get("reasons", [])])

def test_policy(world: World):
    clara = world.coach(); max_ = world.caller("Max")
    world.book(clara, at(2, 9), name="Max", email=max_.email); world.jobs()
    P = "mutation($input: UpdatePolicyInput!) { updatePolicy(input: $input) { __typename ... on PolicyUpdated { policy { moveNoticeMinutes maxMoves menteeMayMove reasonRequired } } ... on Problem { message } } }"
    print(clara.one(P, input={"moveNoticeMinutes": 60*26, "maxMoves": 1}))
    b = max_.bookings()[0]; print(b["rescheduling"])
    r = max_.move(b["id"], at(3, 10)); print(r)
    assert r["__typename"] == "PolicyViolation"
    print(clara.one(P, input={"moveNoticeMinutes": None}))
    assert max_.move(b["id"], at(3, 10), key="2")["__typename"] == "BookingRescheduled"
    print(max_.bookings()[0]["rescheduling"])
    r = max_.move(b["id"], at(4, 10), key="3"); print(r)
    assert (r["__typename"], r["rule"]) == ("PolicyViolation", "MAXIMUM_MOVES")

def test_attention(world: World):
    clara = world.coach(); ada = world.caller("Ada", admin=True)
    A = "{ attention { edges { cursor node { id kind title detail advice actions since booking { id } } } pageInfo { hasNextPage } } }"
    assert ada.one(A)["edges"] == []
    assert clara.post(A).json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
