/** A dataset over many runs of every kind: what a loader makes of it is what the tenant lists, and nothing is lost between. */
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import * as PartReader from "../../src/dataset/PartReader.ts";
import * as Tombstones from "../../src/dataset/Tombstones.ts";
import * as Row from "../../src/format/DecodedRow.ts";
import * as CheckedReader from "../../src/dataset/CheckedReader.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { doubtful } from "../doubtful.ts";
import { newFolder } from "../folders.ts";
import { draws } from "../source/paging/histories.ts";
import { changeManifest, choices, exportInto, manifestOf, type Options, problemsOf } from "./written.ts";
import { isLong } from "../size.ts";

const NOW = 1_767_225_600;
const LOOKBACK = 300;

const hourly: Options = { changes: "since-last", mode: "resume" };
const prune: Options = { ...hourly, prune: true };
const since = (time: number): Options => ({ changes: { since: time }, mode: "resume" });

/** What a loader holds that takes the parts in their order: the latest that speaks of a key wins, and tombstones remove. */
const load = async (root: string): Promise<Map<string, number>> => {
  const { parts, runs } = await manifestOf(root);
  const held = new Map<string, number>();
  const reader = { root, purpose: "load", progress: { rows: 0 } };
  const tombstones = parts.filter(({ format }: { format: string }) => format === "tombstones");
  const speaking = [...PartReader.oneOfEach(parts), ...tombstones].sort((one, other) =>
    one.part - other.part
  );
  for (const part of speaking) {
    if (part.format === "tombstones") {
      for await (const lines of CheckedReader.lines(reader, part, Tombstones.decode)) {
        for (const { line: { user_id, session_id, gone } } of lines) {
          if (gone) held.delete(`${user_id} ${session_id}`);
        }
      }
      continue;
    }
    for await (const rows of CheckedReader.sessions(reader, part, PartReader.writtenAs(part, runs))) {
      for (const row of rows) held.set(Row.keyOf(row).join(" "), Row.lastUpdated(row));
    }
  }
  return held;
};

const linesOf = (held: ReadonlyMap<string, number>) =>
  [...held].map(([key, time]) => `${key} ${time}`).sort();

const listedOf = (sandbox: Sandbox, userIds = sandbox.userIds()) =>
  [...userIds].flatMap((userId) =>
    [...sandbox.sessions(userId)].map((session) => `${userId} ${session.session_id} ${session.last_updated}`)
  ).sort();

/** A sandbox whose answers of a user are others as long as a test wants it, or that knows no such user. */
const changing = (sandbox: Sandbox) => {
  const gone = new Set<string>();
  const answers = new Map<string, (answer: Response, request: Request) => Response | Promise<Response>>();
  const changed: Sandbox = {
    ...sandbox,
    fetch: async (request) => {
      const [, userId = "", path] = /users\/([^/?]+)(\/sessions)?/.exec(request.url) ?? [];
      const answer = await sandbox.fetch(request);
      if (gone.has(userId)) return absent();
      return (path && answers.get(userId)?.(answer, request)) || answer;
    },
  };
  return { changed, answers, gone };
};

const absent = () =>
  new Response(JSON.stringify({ type: "about:blank", title: "Not Found", status: 404 }), {
    status: 404,
    headers: { "content-type": "application/problem+json" },
  });

/** A tenant of three users whose clock a test sets. */
const begun = async (sessionsPerUser = 20) => {
  const clock = { now: NOW };
  const sandbox = make({ users: 3, sessionsPerUser, now: () => clock.now });
  const [first = "", second = "", third = ""] = sandbox.userIds();
  const add = (userId: string, id: string, time: number) =>
    sandbox.add(userId, { session_id: id, initiated_at: time, last_updated: time });
  return { root: await newFolder(), sandbox, clock, first, second, third, add, ...changing(sandbox) };
};

const one = choices("ndjson");

describe("a run from a time on", () => {
  it("later than the last run loses nothing: the next since the last delivers what lies between", async () => {
    const { root, sandbox, clock, first, add } = await begun();
    await exportInto(sandbox, root, { ...hourly, formats: one });
    add(first, "between", NOW + 1000);
    add(first, "asked", NOW + 5000);
    clock.now += 6000;
    const asked = await exportInto(sandbox, root, { ...since(NOW + 4000), formats: one });
    expect(asked).toMatchObject({ sessions: 1, since: NOW + 4000 });
    expect(asked).not.toHaveProperty("redelivered");
    expect(await exportInto(sandbox, root, { ...hourly, formats: one })).toMatchObject({ sessions: 1 });
    expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
    expect(await exportInto(sandbox, root, { ...hourly, formats: one })).toMatchObject({ sessions: 0 });
    expect(await problemsOf(root)).toEqual([]);
  });

  it("as the first is followed by all that is older", async () => {
    for (const after of [hourly, prune]) {
      const { root, sandbox } = await begun(40);
      const times = [...sandbox.userIds()].flatMap((id) => [...sandbox.sessions(id)]);
      const time = times.map(({ last_updated }) => last_updated).sort((a, b) => a - b)[80]!;
      const { sessions } = await exportInto(sandbox, root, { ...since(time), formats: one });
      expect(sessions).toBeLessThan(60);
      expect(await exportInto(sandbox, root, { ...after, formats: one })).toMatchObject({
        sessions: 120 - sessions,
      });
      expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
      expect(await problemsOf(root)).toEqual([]);
    }
  });

  it("before the last run delivers again, says so, and is no damage", async () => {
    const { root, sandbox } = await begun();
    await exportInto(sandbox, root, hourly);
    const again = await exportInto(sandbox, root, since(Date.UTC(2020) / 1000));
    expect(again).toMatchObject({ sessions: 60, redelivered: { sessions: 60, users: { count: 3 } } });
    expect(await problemsOf(root)).toEqual([]);
    // A row more than it says is.
    await changeManifest(root, ({ runs }) => runs[1].redelivered.sessions--);
    expect(await problemsOf(root)).toEqual([
      "manifest.json says run 2 has delivered 59 sessions again, and 60 are there already",
    ]);
    await changeManifest(root, ({ runs }) => delete runs[1].redelivered);
    expect(await problemsOf(root)).toEqual([
      expect.stringMatching(
        / is there twice: session .* of .*ndjson.part-00000.ndjson already; and \d+ more rows/,
      ),
    ]);
  });

  it("that broke off and is gone on with does neither lose nor repeat", async () => {
    const { root, sandbox, changed, answers, second, add } = await begun(80);
    await exportInto(sandbox, root, { ...hourly, formats: one });
    add(second, "later", NOW - 10);
    let requests = 0;
    answers.set(second, (answer) => ++requests === 2 ? new Response("{}", { status: 403 }) : answer);
    const options = { ...since(0), formats: one, walk: { concurrency: 1, pageSize: 20 } };
    await expect(exportInto(changed, root, options)).rejects.toThrow("403");
    expect(await problemsOf(root)).toEqual([]);
    const report = await exportInto(changed, root, options);
    expect(report).toMatchObject({ sessions: 241, redelivered: { sessions: 240, users: { count: 3 } } });
    expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  });

  it("is what its failed users are tried again for, and the run after it delivers the rest of them", async () => {
    const { root, sandbox, changed, answers, first, second } = await begun(60);
    for (const userId of [first, second]) {
      let requests = 0;
      answers.set(
        userId,
        (answer) => userId === first || ++requests === 2 ? new Response("{}", { status: 422 }) : answer,
      );
    }
    const walk = { concurrency: 1, pageSize: 20 };
    const time = NOW - 60 * 86_400;
    const newer = listedOf(sandbox).filter((line) => Number(line.split(" ")[2]) >= time);
    const options = { ...since(time), formats: one, walk };
    expect(await exportInto(changed, root, options)).toMatchObject({ failed: { count: 2 } });
    answers.clear();
    const retry = { mode: "resume" as const, formats: one, walk };
    expect(await exportInto(changed, root, retry)).toMatchObject({ kind: "retry", since: time });
    expect(linesOf(await load(root))).toEqual(newer);
    await exportInto(changed, root, { ...hourly, formats: one, walk });
    expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
  });
});

describe("a session that is shown later than the lookback", () => {
  it.each(["ndjson", "csv", "parquet"])(
    "is delivered by a run that reads whole lists, into %s",
    async (format) => {
      const { root, sandbox, first, add } = await begun();
      const formats = choices(format);
      add(first, "recent", NOW);
      await exportInto(sandbox, root, { ...hourly, formats });
      add(first, "-late", NOW - 5000);
      expect(await exportInto(sandbox, root, { ...hourly, formats })).toMatchObject({ sessions: 0 });
      const report = await exportInto(sandbox, root, { ...prune, formats });
      expect(report).toMatchObject({ sessions: 1, tombstones: { gone: 0, again: 0 } });
      expect(report.requests).toBe(3);
      expect(report).not.toHaveProperty("redelivered");
      expect((await exportInto(sandbox, root, { ...prune, formats })).sessions).toBe(0);
      expect([...(await load(root)).values()]).toHaveLength(62);
      expect(await problemsOf(root)).toEqual([]);
    },
  );

  it("in a newer version than the dataset has is delivered, and an older one is not", async () => {
    const { root, sandbox, first, changed, answers } = await begun();
    const [session] = sandbox.sessions(first);
    await exportInto(sandbox, root, { ...hourly, formats: one });
    const bear = (time: number) =>
      answers.set(first, async (answer) => {
        const rows: Array<{ session_id: string; last_updated: number }> = await answer.json();
        const others = rows.map((row) =>
          row.session_id === session!.session_id ? { ...row, last_updated: time } : row
        );
        return new Response(JSON.stringify(others), { headers: answer.headers });
      });
    bear(session!.last_updated + 1);
    expect((await exportInto(changed, root, { ...prune, formats: one })).sessions).toBe(1);
    bear(session!.last_updated - 1);
    expect((await exportInto(changed, root, { ...prune, formats: one })).sessions).toBe(0);
    expect(await problemsOf(root)).toEqual([]);
  });
});

describe("what comes back", () => {
  it("is delivered again after its tombstone, by a run that reads whole lists", async () => {
    const { root, sandbox, first } = await begun();
    const [session] = sandbox.sessions(first);
    await exportInto(sandbox, root, hourly);
    for (let times = 0; times < 2; times++) {
      sandbox.remove(first, session!.session_id);
      await exportInto(sandbox, root, prune);
      expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
      sandbox.add(first, session);
      const back = await exportInto(sandbox, root, prune);
      expect(back).toMatchObject({
        sessions: 1,
        tombstones: { gone: 0, again: 1 },
        redelivered: { sessions: 1, users: { count: 1, first: [first] } },
      });
      expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
      expect((await exportInto(sandbox, root, prune)).sessions).toBe(0);
    }
    expect(await problemsOf(root)).toEqual([]);
  });

  it.each([
    ["a run since the last", hourly, [hourly]],
    ["a run since the last, told to have ended before", hourly, [hourly, prune]],
    ["a run that reads whole lists", prune, [hourly]],
    ["a run that reads whole lists, told to have ended before", prune, [prune, hourly]],
  ])("is a user, who is delivered whole: by %s", async (_, back, meanwhile) => {
    for (const all of [true, false]) {
      const { root, sandbox, changed, gone, first, second, third } = await begun();
      const usersOf = (...ids: ReadonlyArray<string>) => ({ users: { ids: Stream.fromIterable(ids), all } });
      const everyone = usersOf(first, second, third);
      await exportInto(changed, root, { ...hourly, ...everyone });
      gone.add(first);
      for (const options of meanwhile) {
        await exportInto(changed, root, { ...options, ...(all ? usersOf(second, third) : everyone) });
      }
      gone.clear();
      const isTold = meanwhile.includes(prune);
      const report = await exportInto(changed, root, { ...back, ...everyone });
      // The dataset has them, and has not said that they ended: a run that looks does not deliver them again.
      const expected = back === prune && !isTold ? 0 : 20;
      expect(report.sessions).toBe(expected);
      if (expected > 0) {
        expect(report.redelivered).toEqual({ sessions: 20, users: { count: 1, first: [first] } });
      }
      expect(linesOf(await load(root))).toEqual(listedOf(sandbox));
      expect((await exportInto(changed, root, { ...hourly, ...everyone })).sessions).toBe(0);
      expect(await problemsOf(root)).toEqual([]);
    }
  });

  it("is not taken for damage, but a session more is", async () => {
    const { root, changed, gone, first } = await begun();
    await exportInto(changed, root, hourly);
    gone.add(first);
    await exportInto(changed, root, hourly);
    gone.clear();
    await exportInto(changed, root, hourly);
    expect(await problemsOf(root)).toEqual([]);
    await changeManifest(root, ({ runs }) => runs[2].redelivered.sessions -= 3);
    expect(await problemsOf(root)).toHaveLength(1);
  });

  it("is not a user whom an unverified list of users does not name", async () => {
    const { root, sandbox, first, second, third } = await begun();
    const usersOf = (...ids: ReadonlyArray<string>) => ({
      users: { ids: Stream.fromIterable(ids), all: true, unverifiedReasons: () => ["rows vanished"] },
    });
    await exportInto(sandbox, root, { ...hourly, ...usersOf(first, second, third) });
    await exportInto(sandbox, root, { ...hourly, ...usersOf(second, third) });
    expect((await exportInto(sandbox, root, { ...hourly, ...usersOf(first, second, third) })).sessions).toBe(
      0,
    );
  });
});

describe("a user that can't be verified", () => {
  it("is not delivered again where nothing changed, and what changed is", async () => {
    const { root, sandbox, changed, answers, first, clock } = await begun(250);
    answers.set(first, doubtful);
    expect(await exportInto(changed, root, hourly)).toMatchObject({
      sessions: 750,
      unverified: { count: 1 },
    });
    for (let runs = 0; runs < 3; runs++) {
      const idle = await exportInto(changed, root, hourly);
      expect(idle).toMatchObject({ sessions: 0, unverified: { count: 1 }, files: [] });
    }
    clock.now += 5000;
    sandbox.add(first);
    expect(await exportInto(changed, root, hourly)).toMatchObject({ sessions: 1 });
    answers.clear();
    expect(await exportInto(changed, root, hourly)).toMatchObject({ sessions: 0, verified: true });
    expect(await problemsOf(root)).toEqual([]);
  });
});

/** Plays runs of all kinds over one random history; says what was wrong, if anything. */
const play = async (seed: number, root: string): Promise<ReadonlyArray<string>> => {
  const draw = draws(seed);
  const upTo = (most: number) => Math.floor(draw() * most);
  const problems: Array<string> = [];
  const clock = { now: draw() < 0.3 ? Math.floor(Date.now() / 1000) - 40_000 : NOW };
  let isChurning = false;
  const sandbox: Sandbox = make({
    users: 4,
    sessionsPerUser: 5 + upTo(40),
    seed,
    now: () => clock.now,
    until: clock.now,
    ties: draw() < 0.5 ? "stable" : "unstable",
    beforeAnswer: () => {
      if (isChurning && draw() < 0.3) change();
    },
  });
  const { changed, answers, gone: away } = changing(sandbox);
  const userIds = [...sandbox.userIds()];
  const formats = choices(...[["ndjson"], ["csv"], ["parquet"], ["ndjson", "csv"]][upTo(4)]!);
  const ended: Array<{ readonly userId: string; readonly session: object }> = [];
  /** What only a run that reads whole lists has to deliver: `user session time`. */
  const late = new Set<string>();
  const lineOf = (
    userId: string,
    { session_id, last_updated }: { session_id: string; last_updated: number },
  ) => `${userId} ${session_id} ${last_updated}`;

  const change = () => {
    clock.now += upTo(2) * upTo(200);
    const userId = userIds[upTo(userIds.length)]!;
    const sessions = [...sandbox.sessions(userId)];
    const any = sessions[upTo(sessions.length)];
    const kind = draw();
    if (kind < 0.3 || any === undefined) sandbox.add(userId);
    else if (kind < 0.6) sandbox.update(userId, any.session_id);
    else if (kind < 0.75) {
      sandbox.remove(userId, any.session_id);
      ended.push({ userId, session: any });
    } else if (kind < 0.85 && ended.length > 0) {
      const [back] = ended.splice(upTo(ended.length), 1);
      late.add(lineOf(back!.userId, sandbox.add(back!.userId, back!.session)));
    } else {
      const by = upTo(2) === 0 ? upTo(LOOKBACK) : LOOKBACK + upTo(50_000);
      const time = clock.now - by;
      const session = sandbox.add(userId, { initiated_at: time, last_updated: time });
      if (by > LOOKBACK) late.add(lineOf(userId, session));
    }
  };

  /** Users of whom an earlier run has a walk to go on with: of those nothing can be said before the run after it. */
  let halfRead = new Set<string>();
  for (let runs = 1; runs <= 9; runs++) {
    for (const userId of userIds) {
      if (draw() < 0.1) away.add(userId);
      else if (draw() < 0.5) away.delete(userId);
    }
    answers.clear();
    const odd = userIds.filter(() => draw() < 0.06);
    const failing = userIds.filter((userId) => !away.has(userId) && draw() < 0.04);
    const all = draw() < 0.6;
    let requests = 0;
    let breaksAt = draw() < 0.35 ? 1 + upTo(8) : Infinity;
    for (const userId of userIds) {
      answers.set(userId, (answer, { url }) => {
        if (++requests === breaksAt) return new Response("{}", { status: 403 });
        if (failing.includes(userId) && !url.includes("page=1&")) return new Response("{}", { status: 422 });
        return odd.includes(userId) ? doubtful(answer) : answer;
      });
    }
    const asks = draw();
    const kind = runs === 1 && asks < 0.6
      ? "full"
      : asks < 0.35
      ? "since-last"
      : asks < 0.6
      ? "since"
      : asks < 0.65
      ? "retry"
      : "prune";
    // In some histories the tenant's clock is ahead of ours; a time that has not come by ours is refused.
    const time = Math.min(clock.now - upTo(2) * upTo(20_000) - upTo(2_000), Math.floor(Date.now() / 1000));
    const options: Options = {
      ...kind === "prune" ? prune : kind === "since" ? since(time) : kind === "retry" ? {} : hourly,
      mode: "resume",
      formats,
      partRows: 1 + upTo(60),
      lookback: draw() < 0.2 ? 10 * LOOKBACK : LOOKBACK,
      walk: { pageSize: 10 + upTo(3) * 10, concurrency: 1 + upTo(3) },
    };
    const users = () => ({
      ids: Stream.fromIterable(all ? userIds.filter((userId) => !away.has(userId)) : userIds),
      all,
    });
    isChurning = draw() < 0.25;
    const isQuiet = !isChurning;
    let hasEnded = false;
    for (let tries = 0; !hasEnded; tries++) {
      try {
        // One that has nothing to try again has said nothing of now.
        hasEnded = !(await exportInto(changed, root, { ...options, users: users() })).wasFinished;
        if (!hasEnded) break;
      } catch (error) {
        // Nobody is left: that may leave a run to go on with, so the history ends.
        if (String(error).includes("check the id and the domain")) return problems;
        // Where no other user was answered, a user's failing is taken for the tenant's.
        if (String(error).includes("422")) failing.length = 0;
        else if (!String(error).includes("403")) throw error;
        if (tries > 20) throw error;
        requests = 0;
        breaksAt = draw() < 0.5 ? 1 + upTo(8) : Infinity;
      }
    }
    isChurning = false;
    if (!hasEnded) continue;
    const { failed, runs: said } = await manifestOf(root);
    const verdict = said.at(-1);
    const where = `run ${runs} (${kind}, ${verdict.kind})`;
    const failedNow = new Set<string>(failed.map(({ user_id }: { user_id: string }) => user_id));
    const unsaid = new Set([...halfRead, ...failedNow]);
    const isWhole = kind === "prune" && verdict.tombstones !== undefined;
    for (const problem of await problemsOf(root)) problems.push(`${where}: ${problem}`);

    if (
      isQuiet && (isWhole || verdict.kind === "full" || kind === "since-last") && verdict.kind !== "retry"
    ) {
      const view = await load(root);
      for (const userId of userIds) {
        if (unsaid.has(userId)) continue;
        const listed = away.has(userId) ? [] : listedOf(sandbox, [userId]);
        const isLookedInto = isWhole || verdict.kind === "full";
        for (const line of listed) {
          const [user = "", id = "", at] = line.split(" ");
          if (!isLookedInto && late.has(line)) continue;
          if (view.get(`${user} ${id}`) !== Number(at)) problems.push(`${where} lacks ${line}`);
        }
        if (!isWhole || odd.includes(userId)) continue;
        const held = linesOf(view).filter((line) => line.startsWith(`${userId} `));
        for (const line of held) if (!listed.includes(line)) problems.push(`${where} holds ${line}`);
      }
      if (isWhole) {
        for (const line of late) {
          const [user = ""] = line.split(" ");
          if (!unsaid.has(user) && !away.has(user)) late.delete(line);
        }
      }
      if (failedNow.size === 0 && halfRead.size === 0 && draw() < 0.5) {
        breaksAt = Infinity;
        const idle = await exportInto(changed, root, { ...hourly, formats, users: users() });
        if (idle.sessions > 0) problems.push(`${where}: ${idle.sessions} sessions come again at once`);
      }
    }
    halfRead = failedNow;
    for (let left = upTo(15); left > 0; left--) change();
    clock.now += upTo(3) * upTo(3000);
  }
  return problems;
};

it(
  `over runs of all kinds, each history: what a loader has is what is listed${isLong ? "" : " (short form)"}`,
  async () => {
    for (let seed = 1; seed <= (isLong ? 400 : 1); seed++) {
      expect([seed, ...await play(seed, await newFolder())]).toEqual([seed]);
    }
  },
  3_600_000,
);
