/** A Cloudflare Worker: each path gives what one use of the package gives. */
import { sessions, stream } from "monocloud-sessions/promise";
import { make } from "monocloud-sessions/sandbox";
import { make as makeServer } from "monocloud-sessions/worker";

const token = "a-token-that-is-long-enough";

const use = async (what) => {
  const sandbox = make({ users: 3, sessionsPerUser: 10 });
  const fetch = (input, init) => sandbox.fetch(new Request(input, init));
  const options = { domain: "sandbox.example", apiKey: sandbox.key, fetch };
  if (what === "sessions") {
    let count = 0;
    for await (const _ of sessions({ ...options, users: "all" })) count++;
    return count;
  }
  if (what !== "worker") {
    return (await new Response(stream(what, { ...options, users: "all" })).arrayBuffer()).byteLength;
  }
  const server = await makeServer({ ...options, token });
  const [userId] = sandbox.userIds();
  const url = `http://localhost/v1/users/${encodeURIComponent(userId)}/sessions.csv`;
  const answer = await server.fetch(new Request(url, { headers: { authorization: `Bearer ${token}` } }));
  return (await answer.text()).split("\r\n").length - 2;
};

export default {
  fetch: async (request) => {
    try {
      return new Response(String(await use(new URL(request.url).pathname.slice(1))));
    } catch (error) {
      return new Response(String(error?.stack ?? error), { status: 500 });
    }
  },
};
