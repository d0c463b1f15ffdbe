const { createServer } = require("node:http");
const { createSchema, createYoga } = require("graphql-yoga");
const { sdl, resolvers, serve } = require("./page.cjs");

serve((port) => {
  // it caches parsed and validated documents by itself
  const yoga = createYoga({ schema: createSchema({ typeDefs: sdl, resolvers }), logging: false, graphiql: false });
  createServer(yoga).listen(port, "127.0.0.1");
});
