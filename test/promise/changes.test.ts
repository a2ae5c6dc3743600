/** Cursors: what a consumer that stops anywhere is given when it starts again. */
import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import * as promise from "../../src/promise.ts";
import * as CursorFile from "../../src/promise/CursorFile.ts";
import { make, type Sandbox, serve } from "../../src/sandbox/mod.ts";
import { project, start, until } from "../cli/command.ts";
import { doubtful } from "../doubtful.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { endless, reach, reasonOf, requestsAfterwards, tenant } from "./tenant.ts";
import { isLong, some } from "../size.ts";

type Version = Pick<promise.Session, "session_id" | "last_updated">;

const versionOf = (userId: string, { session_id, last_updated }: Version) =>
  `${userId} ${session_id} ${last_updated}`;

const listed = (sandbox: Sandbox): ReadonlyArray<string> =>
  [...sandbox.userIds()].flatMap((userId) =>
    [...sandbox.sessions(userId)].map((session) => versionOf(userId, session))
  ).sort();

/** All that a call brings, in versions. */
const readAll = async (options: promise.ChangesOptions) => {
  const found: Array<string> = [];
  for await (const { userId, sessions } of promise.changes(options)) {
    found.push(...sessions.map((session) => versionOf(userId, session)));
  }
  return found.sort();
};

/** A way to keep cursors. Those that are `kept` by the consumer are so with the sessions, in one step. */
const stores = {
  map: () => Promise.resolve({ cursors: new Map<string, string>() }),
  slow: () => {
    const cursors = new Map<string, string>();
    const later = () => new Promise((resume) => setTimeout(resume, 1));
    return Promise.resolve({
      cursors: {
        get: (userId: string) => later().then(() => cursors.get(userId) ?? null),
        set: (userId: string, cursor: string) => later().then(() => cursors.set(userId, cursor)),
      },
    });
  },
  file: async () => ({ cursors: join(await newFolder(), "cursors.ndjson") }),
  kept: () => {
    const kept = new Map<string, string>();
    return Promise.resolve({ cursors: { get: (userId: string) => kept.get(userId) }, kept });
  },
} as const;

/** Where a consumer stops: at which change, before or after it has stored it, and how. */
const stop = fc.record({
  at: fc.nat(12),
  isStored: fc.boolean(),
  how: fc.constantFrom("break", "throw", "drop"),
});
const mutation = fc.record({ user: fc.nat(3), kind: fc.constantFrom("add", "update"), nth: fc.nat(100) });
const round = fc.record({
  stop,
  before: fc.array(mutation, { maxLength: 4 }),
  during: fc.array(mutation, { maxLength: 2 }),
});

const mutate = (sandbox: Sandbox, mutations: ReadonlyArray<{ user: number; kind: string; nth: number }>) => {
  const userIds = [...sandbox.userIds()];
  for (const { user, kind, nth } of mutations) {
    const userId = userIds[user % userIds.length]!;
    const sessions = [...sandbox.sessions(userId)];
    if (kind === "add" || sessions.length === 0) sandbox.add(userId);
    else sandbox.update(userId, sessions[nth % sessions.length]!.session_id);
  }
};

describe("changes()", () => {
  it.each(Object.keys(stores) as ReadonlyArray<keyof typeof stores>)(
    "never loses a session, wherever its consumer stops, and repeats what was not acknowledged alone: %s",
    async (kind) => {
      const runs = kind === "map" ? 60 : 25;
      let [stopped, repeated] = [0, 0];
      const population = fc.record({
        users: fc.integer({ min: 1, max: 4 }),
        sessionsPerUser: fc.integer({ min: 0, max: 45 }),
        seed: fc.nat(1000),
      });
      await fc.assert(
        fc.asyncProperty(population, fc.array(round, { maxLength: 6 }), async (population, rounds) => {
          const sandbox = make(population);
          const { cursors, kept } = { kept: undefined, ...await stores[kind]() };
          const options = { ...reach(sandbox), users: "all" as const, pageSize: 10, cursors };
          const table = new Set<string>();
          const delivered = new Set<string>();
          const settled = new Set<string>();

          /** One run of the consumer. */
          const consume = async (
            stop?: { at: number; isStored: boolean; how: string },
            during = [] as never,
          ) => {
            const iterator = promise.changes(options);
            let pending: ReadonlyArray<string> = [];
            for (let at = 0;; at++) {
              const { done, value } = await iterator.next();
              // Coming back has acknowledged the one before.
              for (const version of pending) settled.add(version);
              if (done) return;
              const { userId, sessions, cursor } = value;
              pending = sessions.map((session) => versionOf(userId, session));
              for (const version of pending) {
                expect(settled).not.toContain(version);
                if (delivered.has(version)) repeated++;
                delivered.add(version);
              }
              const isLast = at === stop?.at;
              if (!isLast || stop.isStored) {
                for (const version of pending) table.add(version);
                if (kept !== undefined && cursor !== undefined) {
                  kept.set(userId, cursor);
                  for (const version of pending) settled.add(version);
                }
              }
              if (at === 0) mutate(sandbox, during);
              if (!isLast) continue;
              stopped++;
              if (stop.how === "break") await iterator.return(undefined);
              if (stop.how === "throw") await reasonOf(iterator.throw(new Error("this test's")));
              return;
            }
          };

          for (const { stop, before, during } of rounds) {
            mutate(sandbox, before);
            await consume(stop, during as never);
          }
          // The first call may have to end a walk that was begun; what changed since is the second one's.
          await consume();
          await consume();
          expect(listed(sandbox).filter((version) => !table.has(version))).toEqual([]);
          expect(await readAll(options)).toEqual([]);
        }),
        { numRuns: onDeno ? some(runs) : runs },
      );
      // It is tried, and it is not for nothing that it is about what was not acknowledged.
      if (!onDeno) expect(Math.min(stopped, repeated)).toBeGreaterThan(5);
    },
  );

  it("brings everything at first, then what is new and what changed, and nothing once nothing changed", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 30 });
    const [userId = ""] = sandbox.userIds();
    const cursors = new Map<string, string>();
    const read = () => readAll({ ...options, users: "all", cursors });
    expect(await read()).toEqual(listed(sandbox));
    expect(await read()).toEqual([]);
    const before = sandbox.counts.total;
    const added = sandbox.add(userId);
    const [first] = sandbox.sessions(userId);
    sandbox.update(userId, first!.session_id);
    const [used] = [...sandbox.sessions(userId)].filter(({ session_id }) => session_id === first!.session_id);
    expect(await read()).toEqual([versionOf(userId, added), versionOf(userId, used!)].sort());
    // The list of users, and one request for each of three.
    expect(sandbox.counts.total - before).toBe(4);
  });

  it("sets no cursor that did not change", async () => {
    const { options } = tenant();
    const cursors = new Map<string, string>();
    let sets = 0;
    const store = {
      get: (userId: string) => cursors.get(userId),
      set: (userId: string, cursor: string) => (sets++, cursors.set(userId, cursor)),
    };
    await readAll({ ...options, users: "all", cursors: store });
    expect(sets).toBe(3);
    await readAll({ ...options, users: "all", cursors: store });
    expect(sets).toBe(3);
  });

  it("tells of every user's end, of one that is unknown as well", async () => {
    const { sandbox, options } = tenant();
    const [userId = ""] = sandbox.userIds();
    const ends: Array<unknown> = [];
    const cursors = new Map<string, string>();
    for await (
      const { userId: id, end } of promise.changes({ ...options, users: [userId, "nobody"], cursors })
    ) ends.push([id, end?.status, end?.verified]);
    expect(ends.sort()).toEqual([["nobody", "missing", true], [userId, "complete", true]].sort());
    expect([...cursors.keys()]).toEqual([userId]);
  });

  it("filters, maps and redacts, and goes on from there all the same", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 60 });
    const cursors = new Map<string, string>();
    const found: Array<promise.Session> = [];
    const wanted = [...sandbox.userIds()].flatMap((userId) => [...sandbox.sessions(userId)])
      .filter(({ initiated_at }) => initiated_at % 2 === 0);
    const given = {
      ...options,
      users: "all" as const,
      pageSize: 10,
      cursors,
      filter: ({ initiated_at }: promise.Session) => initiated_at % 2 === 0,
      map: (session: promise.Session) => ({ ...session, extra: "ours" }),
      redact: { policy: { ip: "drop", unknown: "keep" } },
    } satisfies promise.ChangesOptions;
    for (let stops = 0; stops < 5; stops++) {
      for await (const { sessions } of promise.changes(given)) {
        found.push(...sessions);
        if (stops < 4 && found.length > stops * 20) break;
      }
    }
    expect(new Set(found.map(({ session_id }) => session_id))).toEqual(
      new Set(wanted.map(({ session_id }) => session_id)),
    );
    for (const session of found) {
      expect(session).toMatchObject({ extra: "ours" });
      expect(session.last_metadata?.ip_address ?? null).toBeNull();
    }
  });

  it("fails on a row that is no session, or gives it along with the change it came with", async () => {
    const { options } = tenant({ malformed: 0.3, sessionsPerUser: 40 });
    const cursors = new Map<string, string>();
    const error = await reasonOf(readAll({ ...options, users: "all", cursors }));
    expect(error).toSatisfy(promise.isExportError);
    expect(error).toMatchObject({ reason: "InvalidRow" });
    expect(cursors.size).toBe(0);
    let [sessions, quarantined] = [0, 0];
    // Rows that are no sessions have no place in the order, so their walk can't be verified.
    const given = {
      ...options,
      users: "all",
      cursors,
      onInvalid: "quarantine",
      allowUnverified: true,
    } as const;
    for await (const change of promise.changes(given)) {
      sessions += change.sessions.length;
      quarantined += change.quarantined.length;
    }
    expect(quarantined).toBeGreaterThan(5);
    expect(sessions + quarantined).toBe(120);
    for await (const change of promise.changes(given)) {
      expect([change.sessions, change.quarantined]).toEqual([[], []]);
    }
  });

  it("throws what a store throws, and loses nothing by it", async () => {
    const { sandbox, options } = tenant();
    const broken = { get: () => Promise.reject(new Error("no table")) };
    expect(await reasonOf(readAll({ ...options, users: "all", cursors: broken }))).toEqual(
      new Error("no table"),
    );
    const cursors = new Map<string, string>();
    const full = {
      get: (userId: string) => cursors.get(userId),
      set: () => Promise.reject(new Error("no room")),
    };
    expect(await reasonOf(readAll({ ...options, users: "all", cursors: full }))).toEqual(
      new Error("no room"),
    );
    expect(await readAll({ ...options, users: "all", cursors })).toEqual(listed(sandbox));
  });

  it("refuses cursors that are none, or of another client, and names the user", async () => {
    const { sandbox, options } = tenant();
    const [userId = ""] = sandbox.userIds();
    const cursors = new Map<string, string>();
    await readAll({ ...options, users: [userId], cursors });
    const other = await reasonOf(readAll({ ...options, users: [userId], cursors, clientId: "app" }));
    expect(other).toSatisfy(promise.isCursorError);
    expect(other).toMatchObject({
      reason: "Options",
      message: expect.stringContaining(
        `of user "${userId}" was made with 'clientId' none, and it is "app" now`,
      ),
    });
    for (const text of ["", "{", "null", "[]", '{"version":2}', '{"version":1,"cursor":{}}', 7, {}]) {
      const damaged = { get: () => text as string };
      const error = await reasonOf(readAll({ ...options, users: [userId], cursors: damaged }));
      expect(error).toMatchObject({ _tag: "CursorError", reason: "Damaged" });
      expect((error as Error).message).toContain(`cursor of user "${userId}" is damaged`);
    }
  });

  it("fails at the end where something may be missing, unless that is allowed, and keeps the cursors", async () => {
    const { sandbox, options } = tenant({ users: 1, sessionsPerUser: 20 });
    const fetch = async (input: string | URL | Request, init?: RequestInit) =>
      doubtful(await sandbox.fetch(new Request(input, init)));
    const cursors = new Map<string, string>();
    const given = { ...options, users: sandbox.userIds(), pageSize: 10, cursors, fetch };
    const error = await reasonOf(readAll(given));
    expect(error).toMatchObject({ _tag: "ExportError", reason: "Unverified" });
    expect(cursors.size).toBe(1);
    expect(await readAll({ ...given, users: sandbox.userIds(), allowUnverified: true })).toEqual([]);
  });

  it("ends all requests when the loop is broken off, and when the signal says so", async () => {
    const { sandbox, options } = tenant(endless);
    const cursors = new Map<string, string>();
    for await (const _ of promise.changes({ ...options, users: "all", cursors })) break;
    expect(await requestsAfterwards(sandbox)).toBe(0);
    const controller = new AbortController();
    setTimeout(() => controller.abort("enough"), 50);
    const { signal } = controller;
    expect(await reasonOf(readAll({ ...options, users: "all", cursors, signal }))).toBe("enough");
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });
});

describe("a file of cursors", () => {
  const setUp = async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 30 });
    const cursors = join(await newFolder(), "cursors.ndjson");
    return { sandbox, cursors, options: { ...options, users: "all" as const, pageSize: 10, cursors } };
  };

  it("is made, for its owner's eyes alone, and holds one line for each cursor that was set", async () => {
    const { sandbox, cursors, options } = await setUp();
    expect(await readAll(options)).toEqual(listed(sandbox));
    expect((await stat(cursors)).mode & 0o777).toBe(0o600);
    const lines = (await readFile(cursors, "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line));
    expect(new Set(lines.map(({ user_id }) => user_id))).toEqual(new Set(sandbox.userIds()));
    expect(await readAll(options)).toEqual([]);
  });

  it("whose last line was cut off by a killed process is gone on with, wherever it was cut", async () => {
    const { sandbox, cursors, options } = await setUp();
    await readAll(options);
    const whole = await readFile(cursors);
    for (let cut = whole.length - 1; cut > whole.length - 400; cut -= 37) {
      await writeFile(cursors, whole.subarray(0, cut));
      const again = await readAll(options);
      expect(new Set(again.map((version) => version.split(" ")[0])).size).toBeLessThanOrEqual(1);
      expect(await readAll(options)).toEqual([]);
    }
    expect(listed(sandbox)).toHaveLength(90);
  });

  it("is refused where a line of it is none, and where it can't be opened", async () => {
    const { cursors, options } = await setUp();
    await readAll(options);
    await appendFile(cursors, "{}\n");
    const damaged = await reasonOf(readAll(options));
    expect(damaged).toMatchObject({ _tag: "CursorError", reason: "Damaged" });
    expect((damaged as Error).message).toContain(`Cannot read cursors from ${cursors} as its line `);
    const absent = await reasonOf(readAll({ ...options, cursors: join(cursors, "..", "no", "folder") }));
    expect(absent).toMatchObject({ _tag: "CursorError", reason: "File" });
  });

  it("is written anew once most of its lines are old, and loses no cursor by it", async () => {
    const folder = await newFolder();
    const path = join(folder, "cursors.ndjson");
    const file = await CursorFile.open(path);
    const long = "x".repeat(100_000);
    let most = 0;
    for (let i = 0; i < 200; i++) {
      await file.set(`user ${i % 3}`, `${i} ${long}`);
      most = Math.max(most, (await stat(path)).size);
    }
    await file.close();
    expect(most).toBeLessThan(2 ** 22 + 700_000);
    expect(await readdir(folder)).toEqual(["cursors.ndjson"]);
    const again = await CursorFile.open(path);
    expect([0, 1, 2, 3].map((user) => (again.get(`user ${user}`) as string | undefined)?.split(" ")[0]))
      .toEqual([
        "198",
        "199",
        "197",
        undefined,
      ]);
    await again.close();
  });
});

describe.skipIf(onDeno)("a process that is killed", () => {
  it("loses no session, and repeats at most one change for each kill", async () => {
    const sandbox = make({ users: 40, sessionsPerUser: 25, faults: { latencyMs: 3 } });
    const server = await serve(sandbox);
    onTestFinished(() => server.close());
    const folder = await newFolder();
    const [out, cursors] = [join(folder, "out.ndjson"), join(folder, "cursors.ndjson")];
    const script = `
      import { changes } from "monocloud-sessions/promise";
      import { appendFileSync } from "node:fs";
      const options = ${
      JSON.stringify({
        domain: server.url,
        apiKey: sandbox.key,
        users: "all",
        rate: 10_000,
        pageSize: 10,
        cursors,
      })
    };
      for await (const { userId, sessions } of changes(options)) {
        const rows = sessions.map(({ session_id, last_updated }) => userId + " " + session_id + " " + last_updated + "\\n");
        appendFileSync(${JSON.stringify(out)}, rows.join(""));
        console.log("stored");
      }
      console.log("done");`;
    const consume = () =>
      start(process.execPath, ["--input-type=module", "--eval", script], { cwd: project });
    let kills = 0;
    const all = [1, 9, 3, 14, 5, 2];
    for (const stored of isLong ? all : all.slice(0, 3)) {
      const child = consume();
      const isThere = () => child.out().toString().split("stored").length > stored;
      await until(isThere, `${stored} changes are stored`);
      child.kill("SIGKILL");
      if ((await child.done).signal === "SIGKILL") kills++;
    }
    expect(await consume().done).toMatchObject({ code: 0, err: "", out: expect.stringContaining("done") });
    const rows = (await readFile(out, "utf8")).trimEnd().split("\n");
    expect([...new Set(rows)].sort()).toEqual(listed(sandbox));
    expect(kills).toBeGreaterThan(isLong ? 3 : 1);
    expect(rows.length - new Set(rows).size).toBeLessThanOrEqual(kills * 10);
  });
});
