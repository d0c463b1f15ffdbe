import { Client, cacheExchange, fetchExchange, gql } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { ask } from "./asking.mjs";

const { CONVENE_URL, CONVENE_TOKEN, MODE } = process.env;

const persisted = persistedExchange({
  generateHash: async (_text, document) => document.__meta__.hash,
  enforcePersistedQueries: true,
  enableForMutation: true,
});

const made = (headers, exchanges = []) =>
  new Client({
    url: `${CONVENE_URL}/graphql`,
    exchanges: [cacheExchange, ...exchanges, fetchExchange],
    fetchOptions: { headers },
    preferGetMethod: false,
  });

const signedIn = { Authorization: `Bearer ${CONVENE_TOKEN}` };
const links = MODE === "off" ? [] : [persisted];
const client = made(signedIn, links);

const told = async (answer) => {
  const { data, error } = await answer;
  if (error?.networkError) throw error.networkError;
  return { data, errors: (error?.graphQLErrors ?? []).map(({ message, extensions }) => ({ message, code: extensions.code })) };
};

await ask({
  query: (document, variables) => told(client.query(document, variables)),
  mutate: (document, variables) => told(client.mutation(document, variables)),
  free: (text) => told(made(signedIn).query(gql(text), {})),
  anonymously: (document, variables) => told(made({}, links).query(document, variables)),
});
