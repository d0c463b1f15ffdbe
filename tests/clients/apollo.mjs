import assert from "node:assert/strict";
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { ask } from "./asking.mjs";
import { BookingsDocument } from "./built/from-file/graphql.js";
import generated from "./built/from-file/possible-types.js";

const { CONVENE_URL, CONVENE_TOKEN, MODE } = process.env;

const persisted = new PersistedQueryLink({ generateHash: (document) => document.__meta__.hash });

const made = (headers, links = []) =>
  new ApolloClient({
    cache: new InMemoryCache({ possibleTypes: generated.possibleTypes }),
    link: ApolloLink.from([...links, new HttpLink({ uri: `${CONVENE_URL}/graphql`, headers })]),
    defaultOptions: { query: { errorPolicy: "all" }, mutate: { errorPolicy: "all" } },
  });

const signedIn = { Authorization: `Bearer ${CONVENE_TOKEN}` };
const client = made(signedIn, MODE === "off" ? [] : [persisted]);

const told = async (answer) => {
  const { data, error } = await answer;
  assert.ok(!error || CombinedGraphQLErrors.is(error), error);
  return { data, errors: (error?.errors ?? []).map(({ message, extensions }) => ({ message, code: extensions.code })) };
};

await ask({
  query: (query, variables) => told(client.query({ query, variables })),
  mutate: (mutation, variables) => told(client.mutate({ mutation, variables })),
  free: (text) => told(made(signedIn).query({ query: gql(text) })),
  anonymously: (query, variables) => told(made({}, MODE === "off" ? [] : [persisted]).query({ query, variables })),
});

// the cache put the moved booking in its place, and answers from there
const kept = client.readQuery({ query: BookingsDocument, variables: { first: 2, after: null } });
assert.equal(kept.bookings.edges[0].node.start, process.env.NEW_START);
client.stop();
