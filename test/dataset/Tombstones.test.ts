/** Prune reports: which sessions of a dataset the tenant lists no more, and that nothing else is ever said to be gone. */
import * as Batch from "../../src/session/Batch.ts";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import { isUserGone, type Line, observedLines } from "../../src/dataset/Tombstones.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { doubtful } from "../doubtful.ts";
import { newFolder } from "../folders.ts";
import { draws } from "../source/paging/histories.ts";
import {
  choices,
  exportInto,
  exportOf,
  failureOf,
  manifestOf,
  type Options,
  present,
  problemsOf,
} from "./written.ts";
import { isLong } from "../size.ts";

const prune: Options = { changes: "since-last", mode: "resume", prune: true };

/** The same, where a list of 250 sessions is to be several pages. */
const paged: Options = { ...prune, walk: { pageSize: 100 } };

const linesOf = async (root: string): Promise<Array<Line>> => {
  const names = await readdir(join(root, "tombstones")).catch(() => []);
  const texts = await Promise.all(
    names.sort().map((name) => readFile(join(root, "tombstones", name), "utf8")),
  );
  return texts.join("").split("\n").filter((line) => line).map((line) => JSON.parse(line));
};

const firstOf = (sandbox: Sandbox, userId: string) => [...sandbox.sessions(userId)][0]!;

/** A sandbox whose answers to the session requests of one user are changed. */
const tampered = (
  sandbox: Sandbox,
  userId: string,
  change: (answer: Response, request: Request) => Response | Promise<Response>,
): Sandbox => ({
  ...sandbox,
  fetch: async (request) => {
    const answer = await sandbox.fetch(request);
    return request.url.includes(`/users/${userId}`) ? change(answer, request) : answer;
  },
});

describe("a run that prunes", () => {
  it("says which sessions are gone, along with what has changed, and says it once", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 4, sessionsPerUser: 250 });
    const [first = "", second = "", third = ""] = sandbox.userIds();
    expect((await exportInto(sandbox, root, paged)).tombstones).toBeUndefined();
    const [gone, changed] = [firstOf(sandbox, first), firstOf(sandbox, second)];
    sandbox.remove(first, gone.session_id);
    sandbox.update(second, changed.session_id);
    sandbox.add(third);
    const report = await exportInto(sandbox, root, paged);
    expect(report).toMatchObject({
      kind: "changes",
      sessions: 2,
      tombstones: { users: 4, gone: 1, again: 0 },
    });
    expect(report.requests).toBe(3 * 4);
    expect(await linesOf(root)).toEqual([
      {
        user_id: first,
        session_id: gone.session_id,
        gone: true,
        part: expect.any(Number),
        run: 2,
        as_of: report.began,
      },
    ]);
    expect(await present(root)).toEqual(keysOf(sandbox));
    expect(await readdir(join(root, "observed"))).toEqual([]);

    expect(await exportInto(sandbox, root, paged)).toMatchObject({
      sessions: 0,
      tombstones: { users: 4, gone: 0, again: 0 },
      files: [],
    });
    expect(await problemsOf(root)).toEqual([]);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });

  it("leaves a file in any case, so that a reader of the folder finds one", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: 20 });
    await exportInto(sandbox, root, prune);
    await exportInto(sandbox, root, prune);
    expect(await linesOf(root)).toEqual([]);
    expect(await present(root)).toEqual(keysOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  });

  it("takes back what it said of a session that is listed again, and says it anew when it goes again", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: 30 });
    const [first = ""] = sandbox.userIds();
    const session = firstOf(sandbox, first);
    await exportInto(sandbox, root, prune);
    for (const isThere of [false, true, false, true]) {
      if (isThere) sandbox.add(first, session);
      else sandbox.remove(first, session.session_id);
      expect(await exportInto(sandbox, root, prune)).toMatchObject({
        tombstones: { gone: isThere ? 0 : 1, again: isThere ? 1 : 0 },
      });
      expect(await present(root)).toEqual(keysOf(sandbox));
    }
    expect((await linesOf(root)).map(({ gone }) => gone)).toEqual([true, false, true, false]);
    // A change shows by itself, before the next report, and is no reason to take anything back.
    sandbox.remove(first, session.session_id);
    await exportInto(sandbox, root, prune);
    sandbox.add(first, session);
    sandbox.update(first, session.session_id);
    await exportInto(sandbox, root, { ...prune, prune: false });
    expect(await present(root)).toEqual(keysOf(sandbox));
    await exportInto(sandbox, root, prune);
    expect(await present(root)).toEqual(keysOf(sandbox));
    sandbox.remove(first, session.session_id);
    await exportInto(sandbox, root, prune);
    expect(await present(root)).toEqual(keysOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  });

  it("asks for users that are listed no more if it is for all of them, and only then", async () => {
    const sandbox = make({ users: 3, sessionsPerUser: 5 });
    const [first = "", ...others] = sandbox.userIds();
    const without = tampered(
      sandbox,
      first,
      () => new Response(`{"title":"Not Found","status":404}`, { status: 404 }),
    );
    for (const all of [true, false]) {
      const root = await newFolder();
      await exportInto(sandbox, root, prune);
      const users = { ids: Stream.fromIterable(others), all };
      const report = await exportInto(without, root, { ...prune, users });
      expect(report).toMatchObject({
        users: all ? 3 : 2,
        tombstones: { users: all ? 3 : 2, gone: all ? 5 : 0 },
      });
      const keys = keysOf(sandbox);
      expect(await present(root)).toEqual(all ? keys.filter((key) => !key.startsWith(first)) : keys);
    }
  });

  it("takes all that was come upon of a user to be gone where the user is", () => {
    const batch = { ...Batch.make("u", []), observedIds: ["S"] };
    const end = { verified: true, unverifiedReasons: [] };
    const lineOf = (status: "complete" | "missing" | "failed" | "removed") => {
      const line = observedLines({ ...batch, end: { ...end, status: status as "missing" } });
      return JSON.parse(line.join("") || "null");
    };
    expect(lineOf("complete")).toEqual({ user_id: "u", ids: ["S"], whole: true });
    expect(lineOf("failed")).toEqual({ user_id: "u", ids: ["S"] });
    for (const status of ["missing", "removed"] as const) {
      expect(isUserGone({ status: status as "missing" })).toBe(true);
      expect(lineOf(status)).toEqual({ user_id: "u", ids: ["S"], whole: true, gone: true });
    }
  });

  it("knows ids however a format writes them", async () => {
    for (const format of ["ndjson", "csv", "parquet"]) {
      const root = await newFolder();
      const sandbox = make({ users: 2, sessionsPerUser: 3 });
      const [first = ""] = sandbox.userIds();
      const ids = ["=one", "'=one", "-two", "+", 'a "b", c', "\ud800", "@\ufffd"];
      for (const session_id of ids) sandbox.add(first, { session_id });
      const options = { ...prune, formats: choices(format) };
      await exportInto(sandbox, root, options);
      expect(await exportInto(sandbox, root, options)).toMatchObject({
        sessions: 0,
        tombstones: { users: 2, gone: 0 },
      });
      sandbox.remove(first, "-two");
      expect(await exportInto(sandbox, root, options)).toMatchObject({ tombstones: { users: 2, gone: 1 } });
    }
  });
});

describe("nothing is said", () => {
  /** A dataset of two users, of whom each has lost a session since. */
  const begun = async (sessions = 250) => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: sessions });
    const [first = "", second = ""] = sandbox.userIds();
    await exportInto(sandbox, root, paged);
    for (const userId of [first, second]) sandbox.remove(userId, firstOf(sandbox, userId).session_id);
    return { root, sandbox, first, second };
  };

  const saysOnlyOf = async (root: string, userId: string) => {
    expect((await linesOf(root)).map(({ user_id }) => user_id)).toEqual([userId]);
    expect(await problemsOf(root)).toEqual([]);
  };

  it("of a user whose walk is not verified", async () => {
    const { root, sandbox, first, second } = await begun();
    const shuffled = tampered(sandbox, first, doubtful);
    const report = await exportInto(shuffled, root, paged);
    expect(report).toMatchObject({ verified: false, tombstones: { users: 1, gone: 1 } });
    await saysOnlyOf(root, second);
    await exportInto(sandbox, root, paged);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });

  it("of a user whose walk broke off, nor when it is gone on with later", async () => {
    const { root, sandbox, first, second } = await begun();
    const update = () => sandbox.update(first, firstOf(sandbox, first).session_id);
    update();
    const failing = tampered(
      sandbox,
      first,
      (answer, { url }) => url.includes("page=1&") ? answer : new Response("{}", { status: 422 }),
    );
    const broken = await exportInto(failing, root, paged);
    expect(broken).toMatchObject({ failed: { count: 1 }, tombstones: { users: 1, gone: 1 } });
    await saysOnlyOf(root, second);
    for (const options of [paged, { ...paged, prune: false, changes: undefined }]) {
      update();
      const other = await exportInto(failing, root, paged);
      expect(other.failed.count).toBe(1);
      expect(await exportInto(sandbox, root, options)).toMatchObject({ failed: { count: 0 } });
      await saysOnlyOf(root, second);
    }
    await exportInto(sandbox, root, paged);
    expect(await present(root)).toEqual(keysOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  });

  it("of a user whose list has a row without an id", async () => {
    const { root, sandbox, first, second } = await begun(20);
    const nameless = tampered(sandbox, first, async (answer) => {
      const [{ session_id: _, ...row }, ...rows] = await answer.json();
      return new Response(JSON.stringify([row, ...rows]), { headers: answer.headers });
    });
    expect(await exportInto(nameless, root, prune)).toMatchObject({ tombstones: { users: 1, gone: 1 } });
    await saysOnlyOf(root, second);
  });

  it("of a session that is listed as a row that is none", async () => {
    const { root, sandbox, first } = await begun(20);
    const malformed = tampered(sandbox, first, async (answer) => {
      const rows = await answer.json();
      return new Response(JSON.stringify([{ ...rows[0], expires_at: "never" }, ...rows.slice(1)]), {
        headers: answer.headers,
      });
    });
    expect(await exportInto(malformed, root, prune)).toMatchObject({ tombstones: { users: 2, gone: 2 } });
    const newest = [...sandbox.sessions(first)].at(-1)!.session_id;
    expect((await linesOf(root)).map(({ session_id }) => session_id)).not.toContain(newest);
  });
});

it(
  "whatever happens and however often it is broken off, what is gone is told and nothing else ever is",
  async () => {
    let breaks = 0;
    for (let seed = 1; seed <= (isLong ? 100 : 1); seed++) {
      const draw = draws(seed);
      const root = await newFolder();
      let isReading = false;
      const [gone, goneMeanwhile] = [new Set<string>(), new Set<string>()];
      const sandbox: Sandbox = make({
        users: 5,
        sessionsPerUser: 30,
        seed,
        ties: draw() < 0.5 ? "stable" : "unstable",
        faults: { latencyMs: 1 },
        beforeAnswer: () => {
          if (isReading && draw() < 0.3) change();
        },
      });
      const userIds = [...sandbox.userIds()];
      const change = () => {
        const userId = userIds[Math.floor(draw() * userIds.length)]!;
        const sessions = [...sandbox.sessions(userId)];
        const any = sessions[Math.floor(draw() * sessions.length)];
        const kind = draw();
        if (any === undefined || kind < 0.3) sandbox.add(userId);
        else if (kind < 0.6) sandbox.update(userId, any.session_id);
        else {
          sandbox.remove(userId, any.session_id);
          (isReading ? goneMeanwhile : gone).add(`${userId} ${any.session_id}`);
        }
      };
      const churns = draw() < 0.5;
      for (let runs = 0; runs < 5; runs++) {
        const isPrune = draw() < 0.7;
        let isDone = false;
        isReading = churns;
        for (let tries = 0; !isDone; tries++) {
          const fiber = Effect.runFork(exportOf(sandbox, root, {
            ...prune,
            prune: isPrune,
            formats: choices("parquet", "ndjson"),
            partRows: 1 + Math.floor(draw() * 60),
            walk: { pageSize: 10, concurrency: 1 + Math.floor(draw() * 6) },
          }));
          const exit = await Effect.runPromise(Effect.timeoutTo(Fiber.await(fiber), {
            duration: Duration.millis(tries > 3 ? 1e6 : draw() * 80),
            onTimeout: () => undefined,
            onSuccess: (exit) => exit,
          })) ?? await Effect.runPromise(Fiber.interrupt(fiber));
          isDone = Exit.isSuccess(exit);
          if (!isDone) breaks++;
          if (!isDone && !Exit.isInterrupted(exit)) throw new Error(String(exit));
        }
        isReading = false;
        if (isPrune && runs > 0) {
          const view = new Set(await present(root));
          const live = new Set(keysOf(sandbox));
          // Nothing comes back here: what was there at both ends was there throughout.
          for (const { user_id, session_id } of await linesOf(root)) {
            expect([...live]).not.toContain(`${user_id} ${session_id}`);
          }
          expect([...gone].filter((key) => view.has(key))).toEqual([]);
          if (!churns) expect([...view].sort()).toEqual([...live].sort());
        }
        for (const key of goneMeanwhile) gone.add(key);
        goneMeanwhile.clear();
        for (let left = Math.floor(draw() * 15); left > 0; left--) change();
      }
      expect(await problemsOf(root)).toEqual([]);
    }
    expect(breaks).toBeGreaterThan(isLong ? 240 : 1);
  },
  1_800_000,
);

describe("a run that prunes can't be made", () => {
  it("without what was exported last, or in the middle of a run that was begun without it", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: 120, faults: { latencyMs: 5 } });
    expect(() => Effect.runSync(exportOf(sandbox, root, { prune: true }))).toThrow(
      `Cannot tell what was removed unless 'changes' is "since-last"`,
    );
    await exportInto(sandbox, root, prune);
    for (const userId of sandbox.userIds()) for (let i = 0; i < 90; i++) sandbox.add(userId);
    const broken = Effect.runFork(
      exportOf(sandbox, root, { ...prune, prune: false, partRows: 1, walk: { concurrency: 1 } }),
    );
    while (
      !await readFile(join(root, "journal.ndjson"), "utf8").then((text) => text.includes("\n{"), () => false)
    ) {
      await new Promise((resume) => setTimeout(resume, 1));
    }
    await Effect.runPromise(Fiber.interrupt(broken));
    const error = await failureOf(sandbox, root, prune);
    expect(error.message).toContain("'prune' was not given when it began and is true now");
    await exportInto(sandbox, root, { ...prune, prune: false });
    await exportInto(sandbox, root, prune);
    expect(await present(root)).toEqual(keysOf(sandbox));
  });

  it("from a dataset or a list of ids that is not as it was written", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: 20 });
    await exportInto(sandbox, root, prune);
    const [part] = (await manifestOf(root)).parts;
    const path = join(root, part.path);
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace('"session_id"', '"session-id"'));
    const error = await failureOf(sandbox, root, prune);
    expect(error.message).toContain(`Cannot tell what was removed as ${path} has been changed`);
    await writeFile(path, text);
    expect(await exportInto(sandbox, root, prune)).toMatchObject({ tombstones: { users: 2, gone: 0 } });
  });
});
