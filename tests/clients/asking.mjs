// What both clients ask, and what must come of it. Their ways differ in `client` alone.
import assert from "node:assert/strict";
import { BookingsDocument, InboxDocument, MoveDocument } from "./built/from-file/graphql.js";

const { NEW_START, MODE } = process.env;

/** client: query(document, variables) and mutate(document, variables), each answering { data, errors: [{ message, code }] } */
export async function ask(client) {
  const seen = [];
  let after = null;
  do {
    const { data, errors } = await client.query(BookingsDocument, { first: 2, after });
    assert.deepEqual(errors, []);
    seen.push(...data.bookings.edges.map((edge) => edge.node));
    after = data.bookings.pageInfo.hasNextPage ? data.bookings.pageInfo.endCursor : null;
  } while (after);
  assert.equal(seen.length, 3);
  assert.equal(new Set(seen.map((booking) => booking.id)).size, 3);
  assert.deepEqual(seen[0].participants.map((person) => person.role).sort(), ["COACH", "MENTEE"]);

  const [booking] = seen;
  const move = (key, expectedVersion) => client.mutate(MoveDocument, { input: { bookingId: booking.id, newStart: NEW_START, expectedVersion, idempotencyKey: key } });
  const refused = (await move("late", booking.version + 7)).data.rescheduleBooking;
  assert.equal(refused.__typename, "StaleBooking");
  assert.equal(refused.code, "STALE_BOOKING"); // through an interface of the union's members
  const moved = (await move("good", booking.version)).data.rescheduleBooking;
  assert.equal(moved.__typename, "BookingRescheduled");
  assert.equal(moved.booking.id, booking.id);
  assert.equal(moved.booking.start, NEW_START);
  assert.equal(moved.previousStart, booking.start);

  const inbox = await client.query(InboxDocument, {});
  assert.equal(inbox.data.viewer.name, "Clara");
  assert.equal(inbox.data.webhookEvents, null);
  assert.deepEqual(inbox.errors, [{ message: "Only admins see the inbox.", code: "FORBIDDEN" }]);

  const free = await client.free("query Free { viewer { timeZone } }");
  if (MODE === "only") assert.deepEqual(free.errors.map((error) => error.code), ["DOCUMENT_NOT_TRUSTED"]);
  else assert.equal(free.data.viewer.timeZone, "Europe/Berlin");
  const wrong = await client.free("query Wrong { viewer { passwort } }");
  assert.deepEqual(wrong.errors.map((error) => error.code), [MODE === "only" ? "DOCUMENT_NOT_TRUSTED" : "BAD_USER_INPUT"]);
  const nobody = await client.anonymously(BookingsDocument, { first: 1 });
  assert.deepEqual(nobody.errors.map((error) => error.code), ["UNAUTHENTICATED"]);
  console.log("all as expected");
}
