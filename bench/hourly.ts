/**
 * What an hourly run costs: 5,000 users, of whom one in a hundred changes between two runs, beside a full run of the same
 * tenant. `npm run bench:hourly`.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { make, serve } from "../src/sandbox/mod.ts";
import { runCommand } from "./processes.ts";

const USERS = 5_000;

const sandbox = make({ users: USERS, sessionsPerUser: { mean: 100 } });
const server = await serve(sandbox);
const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));

const measure = async (what: string) => {
  const args = [
    "export",
    "--all-users",
    "--out",
    "out",
    "--format",
    "parquet",
    "--since-last",
    "--rate",
    "100000/s",
    "--quiet",
  ];
  const environment = { MONOCLOUD_DOMAIN: server.url, MONOCLOUD_API_KEY: sandbox.key };
  const run = await runCommand(args, environment, folder);
  if (run.code !== 0) throw new Error(`The export ended with code ${run.code}`);
  const { runs } = JSON.parse(await readFile(join(folder, "out", "manifest.json"), "utf8"));
  const { requests, sessions, bytes } = runs.at(-1);
  return {
    run: what,
    sessions,
    requests,
    seconds: Number(run.seconds.toFixed(1)),
    "MB written": Number((bytes / 1e6).toFixed(2)),
  };
};

try {
  const full = await measure("full");
  const userIds = [...sandbox.userIds()];
  for (let index = 0; index < USERS; index += 100) {
    const userId = userIds[index]!;
    const [session] = sandbox.sessions(userId);
    if (session !== undefined) sandbox.update(userId, session.session_id);
    sandbox.add(userId);
  }
  const changes = await measure("1 % changed");
  const none = await measure("none changed");
  console.table([full, changes, none]);
  console.log(
    `At the default rate of 20 requests a second: ${
      [full, changes, none].map(({ run, requests }) => `${run} ${Math.ceil(requests / 20 / 60)} min`).join(
        ", ",
      )
    }.`,
  );
} finally {
  await server.close();
  await rm(folder, { recursive: true });
}
