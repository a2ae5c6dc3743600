/** A program for Node that exports in a thread and serves, out of one bundle. */
// Not by `node:worker_threads`: of that, webpack makes code that fails.
import { Worker } from "worker_threads";
import { make, serve } from "monocloud-sessions/sandbox";
import { make as makeServer } from "monocloud-sessions/server";
import { exportSessions } from "monocloud-sessions/thread";

const sandbox = make({ users: 3, sessionsPerUser: 10 });
const tenant = await serve(sandbox);
const options = { domain: tenant.url, apiKey: sandbox.key };
const spawn = () => new Worker(new URL("./worker.mjs", import.meta.url));
const report = await exportSessions({ ...options, users: "all", out: ["a.csv.gz", "a.parquet"], spawn });
const server = await makeServer(options);
const here = { remoteAddr: { hostname: "127.0.0.1" } };
const [userId] = sandbox.userIds();
const url = `http://localhost/v1/users/${encodeURIComponent(userId)}/sessions.csv`;
const answer = await server.fetch(new Request(url), here);
console.log(
  JSON.stringify([report.sessions, report.verified, (await answer.text()).split("\r\n").length - 2]),
);
await server.stop();
await tenant.close();
