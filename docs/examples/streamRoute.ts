/**
 * A route that streams a user's sessions as CSV: a handler from `Request` to `Response`, such as Hono, Next.js, Deno and
 * Bun take. Hono: `app.get("/users/:id/sessions.csv", (context) => route(context.req.raw))`.
 *
 * Run: `deno run -A docs/examples/streamRoute.ts`. With Node 22.18 or later: `npm run build`, then
 * `node docs/examples/streamRoute.ts`.
 */
import { isApiError, isExportError, response } from "monocloud-sessions/promise";
import { make } from "monocloud-sessions/sandbox";

const sandbox = make({ users: 5, sessionsPerUser: 30 });

export const route = async (request: Request): Promise<Response> => {
  const userId = /^\/users\/([^/]+)\/sessions\.csv$/.exec(new URL(request.url).pathname)?.[1];
  if (userId === undefined) return new Response("There is nothing here", { status: 404 });
  try {
    return await response("csv", {
      domain: "sandbox.example",
      apiKey: sandbox.key,
      fetch: (input, init) => sandbox.fetch(new Request(input, init)),
      users: [decodeURIComponent(userId)],
      signal: request.signal, // needed: before there is a body, nothing else tells that the client has left
      maxElapsed: "10 seconds", // a tenant that is down is told soon; without it, after five minutes
    });
  } catch (error) {
    if (request.signal.aborted) return new Response(null, { status: 499 });
    // No status has been sent yet. What fails later aborts the body.
    if (isExportError(error) && error.reason === "NoSuchUsers") {
      return new Response(error.message, { status: 404 });
    }
    if (isApiError(error)) return new Response(error.message, { status: 502 });
    throw error;
  }
};

const [first = ""] = sandbox.userIds();
for (const userId of [first, "nobody"]) {
  const answer = await route(new Request(`https://app.example/users/${userId}/sessions.csv`));
  const text = await answer.text();
  console.log(answer.status, answer.headers.get("content-type"), text.split("\r\n").length - 1);
}
