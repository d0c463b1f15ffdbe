const fastify = require("fastify");
const mercurius = require("mercurius");
const { sdl, resolvers, serve } = require("./page.cjs");

serve((port) => {
  const app = fastify();
  // jit: 0 is its default: never compiled
  app.register(mercurius, { schema: sdl, resolvers, jit: 0 });
  app.listen({ port, host: "127.0.0.1" });
});
