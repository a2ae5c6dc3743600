/** What a prune may speak of: what the run asked for, and was told for certain. And what a schema keeps fixed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { afterAll, beforeAll, expect, it } from "vitest";
import * as Redaction from "../../src/session/Redaction.ts";
import * as RedactionPolicy from "../../src/session/RedactionPolicy.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import { doubtful } from "../doubtful.ts";
import { expectRows, hiding, listedBy, rowsOf, select, sync, syncOf } from "./tables.ts";

let folder: string;
let made = 0;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "scope-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

const newTarget = () => DuckDb.make({ path: join(folder, `${++made}.duckdb`) });

/** A tenant of five users with 30 sessions each, all of them in the table; then each user's first session ends. */
const withEnded = async (options: Parameters<typeof sync>[2] = {}) => {
  const [sandbox, target] = [make({ users: 5, sessionsPerUser: 30 }), newTarget()];
  await sync(sandbox, target, options);
  const before = await rowsOf(target);
  for (const userId of sandbox.userIds()) {
    const [first] = sandbox.sessions(userId);
    sandbox.remove(userId, first!.session_id);
  }
  const [first = "", ...others] = sandbox.userIds();
  return { sandbox, target, before, first, others };
};

const keyOf = (row: string): readonly [userId: string, sessionId: string] => JSON.parse(row).slice(0, 2);

/** What has ended, by users. */
const endedIn = (before: ReadonlyArray<string>, after: ReadonlyArray<string>): ReadonlyArray<string> => {
  const there = new Set(after);
  return before.filter((row) => !there.has(row)).map((row) => keyOf(row)[0]).sort();
};

/** The same tenant, where the answers for one user are others. */
const tampered = (
  sandbox: Sandbox,
  userId: string,
  answer: (its: Response) => Response | Promise<Response>,
): Pick<Sandbox, "fetch" | "key"> => ({
  key: sandbox.key,
  fetch: async (request) => {
    const its = await sandbox.fetch(request);
    return request.url.includes(`/users/${userId}/`) ? answer(its) : its;
  },
});

it("with users named, a prune speaks of these", async () => {
  const { sandbox, target, before, first } = await withEnded();
  expect(await sync(sandbox, target, { prune: true, users: [first] })).toMatchObject({ users: 1, ended: 1 });
  expect(endedIn(before, await rowsOf(target))).toEqual([first]);
  expect(await sync(sandbox, target, { prune: true })).toMatchObject({ ended: 4 });
  expectRows(await rowsOf(target), listedBy(sandbox));
});

it("of a user whose walk is not verified, it says nothing", async () => {
  const { sandbox, target, before, first, others } = await withEnded();
  const report = await sync(tampered(sandbox, first, doubtful), target, { prune: true });
  expect(report).toMatchObject({ verified: false, unverified: { count: 1 }, ended: 4 });
  expect(endedIn(before, await rowsOf(target))).toEqual([...others].sort());
});

it("nor of one whose walk failed, who is walked anew by the next run", async () => {
  const { sandbox, target, before, first, others } = await withEnded();
  const failing = tampered(
    sandbox,
    first,
    () =>
      Response.json({ title: "no", status: 409 }, {
        status: 409,
        headers: { "content-type": "application/problem+json" },
      }),
  );
  const report = await sync(failing, target, { prune: true });
  expect(report).toMatchObject({ verified: false, failed: { count: 1 }, ended: 4 });
  expect(endedIn(before, await rowsOf(target))).toEqual([...others].sort());
  expect(await sync(sandbox, target, { prune: true })).toMatchObject({ verified: true, ended: 1 });
  expectRows(await rowsOf(target), listedBy(sandbox));
});

it("nor of one who is missing from a list of users that is not verified", async () => {
  const { sandbox, target, before, first, others } = await withEnded();
  const tenant = hiding(sandbox);
  tenant.hidden.add(first);
  const fetch = async (request: Request) => {
    const answer = await tenant.fetch(request);
    return new URL(request.url).pathname === "/api/users" ? doubtful(answer) : answer;
  };
  const report = await sync({ ...tenant, fetch }, target, { prune: true });
  expect(report).toMatchObject({ verified: false, ended: 4 });
  expect(report.userListUnverifiedReasons).not.toEqual([]);
  expect(endedIn(before, await rowsOf(target))).toEqual([...others].sort());
  // By a list that is verified, whoever is missing is asked for, and known to be gone.
  expect(await sync(tenant, target, { prune: true })).toMatchObject({ verified: true, ended: 30 });
  expectRows(await rowsOf(target), listedBy(sandbox, (userId) => userId !== first));
});

it("with a client, the table has that client's sessions, and a prune ends those it has no more", async () => {
  const [sandbox, target] = [make({ users: 4, sessionsPerUser: 60 }), newTarget()];
  const [clientId = ""] = sandbox.clientIds;
  const walk = { clientId };
  const ofClient = () => listedBy(sandbox).filter((row) => JSON.parse(row)[3].includes(clientId));
  await sync(sandbox, target, { walk });
  expectRows(await rowsOf(target), ofClient());
  const [gone] = ofClient().map(keyOf);
  sandbox.remove(...gone!);
  for (const userId of sandbox.userIds()) sandbox.add(userId, { client_ids: [clientId] });
  expect(await sync(sandbox, target, { walk })).toMatchObject({ inserted: 4, ended: 0 });
  expect(await sync(sandbox, target, { walk, prune: true })).toMatchObject({ ended: 1, inserted: 0 });
  expectRows(await rowsOf(target), ofClient());
  for (const other of [{}, { clientId: sandbox.clientIds[1]! }]) {
    const refused = await Effect.runPromise(Effect.flip(syncOf(sandbox, target, { walk: other })));
    expect(refused).toMatchObject({ reason: "Options", message: expect.stringContaining("its filter was") });
  }
});

it("what is redacted is so before it leaves, and stays so", async () => {
  const [sandbox, target] = [make({ users: 3, sessionsPerUser: 20 }), newTarget()];
  const redaction = RedactionPolicy.settle({ ip: "drop", user_agent: "drop", location: "drop" });
  const redacted = { redaction: { ...redaction }, change: Redaction.make(redaction) };
  await sync(sandbox, target, redacted);
  const personal = ["ip_address", "user_agent", "city", "latitude", "session_key"];
  const rows = await select(
    target,
    ({ table }) =>
      `SELECT ${personal.map((name) => `count("${name}") AS "${name}"`).join(", ")} FROM ${
        table("sessions")
      }`,
  );
  expect(personal.map((name) => Number(rows[0]?.[name]))).toEqual(personal.map(() => 0));
  const other = RedactionPolicy.settle({ ip: "keep" });
  for (const options of [{}, { redaction: { ...other }, change: Redaction.make(other) }]) {
    const refused = await Effect.runPromise(Effect.flip(syncOf(sandbox, target, options)));
    expect(refused).toMatchObject({
      reason: "Options",
      message: expect.stringContaining("its redaction was"),
    });
  }
});
