// The page's rows and resolvers for both Node servers, and two processes of whichever it is.
const cluster = require("node:cluster");
const fs = require("node:fs");
const { GraphQLScalarType } = require("graphql");

const { sdl, rows } = JSON.parse(fs.readFileSync(process.env.BENCH_PAGE, "utf8"));
const times = ["start", "end", "createdAt"];
const source = rows.map((row) => ({ ...row, ...Object.fromEntries(times.map((name) => [name, new Date(row[name])])) }));

const DateTime = new GraphQLScalarType({
  name: "DateTime",
  serialize: (value) => value.toISOString().slice(0, 19) + "Z",
});
const resolvers = { DateTime, Query: { bookings: (_root, { rows }) => source.slice(0, rows) } };

function serve(start) {
  if (cluster.isPrimary) {
    cluster.fork();
    cluster.fork();
    process.on("SIGTERM", () => {
      for (const worker of Object.values(cluster.workers)) worker.kill();
      process.exit(0);
    });
  } else {
    // with its parent, however that ends
    process.on("disconnect", () => process.exit(0));
    start(Number(process.env.PORT));
  }
}

module.exports = { sdl, resolvers, serve };
