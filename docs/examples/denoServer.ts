/**
 * The export server, carried by `Deno.serve` beside routes of your own.
 *
 * Run: `deno run -A --unstable-no-legacy-abort docs/examples/denoServer.ts`, then ask it:
 * `curl -H "Authorization: Bearer a-token-that-is-long-enough" http://127.0.0.1:PORT/v1/users/USER_ID/sessions.csv`
 */
import { make as makeServer } from "monocloud-sessions/server";
import { make } from "monocloud-sessions/sandbox";

const sandbox = make({ users: 5 });
const exports = await makeServer({
  domain: "sandbox.example",
  apiKey: sandbox.key,
  token: "a-token-that-is-long-enough",
  fetch: (input, init) => sandbox.fetch(new Request(input, init)),
});

const server = Deno.serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) =>
      console.log(`Listening on http://127.0.0.1:${port}, user ${[...sandbox.userIds()][0]}`),
  },
  (request, info) =>
    new URL(request.url).pathname === "/hello"
      ? new Response("A route of your own")
      : exports.fetch(request, info),
);

// Exports are stopped so that the next server resumes them, then open connections end.
Deno.addSignalListener("SIGTERM", async () => {
  await exports.stop();
  await server.shutdown();
  Deno.exit();
});
