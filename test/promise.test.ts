import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import * as promise from "../src/promise.ts";
import { make } from "../src/sandbox/mod.ts";
import { ApiError } from "../src/api/ApiError.ts";
import { doubtful } from "./doubtful.ts";
import { csvTable, parquetTable, sql } from "./duckdb.ts";
import { newFolder } from "./folders.ts";
import { endless, forbiddenAfter, keysOf, reasonOf, requestsAfterwards, tenant } from "./promise/tenant.ts";

const collect = async (sessions: AsyncIterable<promise.UserSession>) => {
  const keys: Array<string> = [];
  for await (const { user_id, session_id } of sessions) keys.push(`${user_id} ${session_id}`);
  return keys.sort();
};

describe("sessions()", () => {
  it("gives every session once, with its user and all its fields", async () => {
    const { sandbox, options } = tenant({ unknownFields: true });
    const [userId = ""] = sandbox.userIds();
    expect(await collect(promise.sessions({ ...options, users: sandbox.userIds() }))).toEqual(
      keysOf(sandbox),
    );
    for await (const session of promise.sessions({ ...options, users: [userId] })) {
      expect(session).toMatchObject({ user_id: userId, client_ids: expect.any(Array) });
      expect(session.initiated_at).toBeGreaterThan(1e9);
    }
  });

  it("gives a user's sessions newest first", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 250 });
    const [userId = ""] = sandbox.userIds();
    const times: Array<number> = [];
    for await (const { initiated_at } of promise.sessions({ ...options, users: [userId] })) {
      times.push(initiated_at);
    }
    expect(times).toHaveLength(250);
    expect(times).toEqual(times.toSorted((a, b) => b - a));
  });

  it("takes users from an async iterable, and asks for no more of them than it needs", async () => {
    const { sandbox, options } = tenant({ users: 1000, sessionsPerUser: 1 });
    let asked = 0;
    let closed = false;
    async function* users() {
      try {
        for (const userId of sandbox.userIds()) {
          asked++;
          yield userId;
        }
      } finally {
        closed = true;
      }
    }
    let count = 0;
    for await (const _ of promise.sessions({ ...options, users: users(), concurrency: 2 })) {
      if (++count === 5) break;
    }
    expect(asked).toBeLessThan(50);
    expect(closed).toBe(true);
  });

  it('takes every user of the tenant for "all"', async () => {
    const { sandbox, options } = tenant({ users: 250, sessionsPerUser: 2 });
    expect(await collect(promise.sessions({ ...options, users: "all" }))).toEqual(keysOf(sandbox));
  });

  it("refuses one text for users, which would be taken for a list of letters", async () => {
    const { options } = tenant();
    const error = await reasonOf(collect(promise.sessions({ ...options, users: "alice" })));
    expect(error).toEqual(
      new TypeError(`Cannot read sessions as 'users' must be a list of user ids, or "all": it is a string`),
    );
  });

  it.each([
    ["iterable", () => ({
      // deno-lint-ignore require-yield
      *[Symbol.iterator](): Generator<string> {
        throw new Error("this test's list");
      },
    })],
    ["async iterable", () => ({
      // deno-lint-ignore require-yield
      async *[Symbol.asyncIterator](): AsyncGenerator<string> {
        await Promise.resolve();
        throw new Error("this test's list");
      },
    })],
  ])("throws what an %s of users throws", async (_, users) => {
    const { options } = tenant();
    const error = await reasonOf(collect(promise.sessions({ ...options, users: users() })));
    expect(error).toEqual(new Error("this test's list"));
  });

  it("throws the ApiError itself", async () => {
    const { sandbox, options } = tenant();
    const error = await reasonOf(
      collect(promise.sessions({ ...options, apiKey: "another-key", users: sandbox.userIds() })),
    );
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ reason: "Unauthorized", status: 401 });
    expect(`${error}${JSON.stringify(error)}`).not.toContain("another-key");
  });

  it("throws on a domain or an option that can't be", async () => {
    const { options } = tenant();
    const fail = (change: object) =>
      reasonOf(collect(promise.sessions({ ...options, users: ["alice"], ...change })));
    expect(await fail({ domain: "http://elsewhere.example" })).toMatchObject({ reason: "InsecureTransport" });
    expect(await fail({ apiKey: " " })).toMatchObject({ reason: "ApiKey" });
    expect(await fail({ pageSize: 3 })).toBeInstanceOf(RangeError);
    expect(await fail({ rate: 0 })).toBeInstanceOf(RangeError);
  });

  it("throws on a user that the tenant does not know, if nobody is told of it", async () => {
    const { options } = tenant();
    const error = await reasonOf(collect(promise.sessions({ ...options, users: ["nobody"] })));
    expect(error).toMatchObject({ _tag: "ExportError", reason: "NoSuchUsers" });
    expect(`${error}`).toContain('"nobody"');
  });

  it("tells of every user's end, of one that the tenant does not know as well", async () => {
    const { sandbox, options } = tenant();
    const ends: Array<[string, string, boolean]> = [];
    const found = await collect(promise.sessions({
      ...options,
      users: ["nobody", ...sandbox.userIds()],
      onEnd: (userId, { status, verified }) => ends.push([userId, status, verified]),
    }));
    expect(found).toEqual(keysOf(sandbox));
    expect(ends.sort()).toEqual(
      [["nobody", "missing", true], ...[...sandbox.userIds()].map((id) => [id, "complete", true])].sort(),
    );
  });

  it("throws on a row that is not a session, if nobody is told of it", async () => {
    const { options } = tenant({ malformed: 0.5, sessionsPerUser: 40 });
    const error = await reasonOf(collect(promise.sessions({ ...options, users: "all" })));
    expect(error).toMatchObject({ _tag: "ExportError", reason: "InvalidRow" });
    expect((error as Error).message).toMatch(
      /^User \S+, page \d+ \(of size 100\), row \d+ is not a session: /,
    );
  });

  it("tells of each row that is not a session and gives all others", async () => {
    const { options } = tenant({ malformed: 0.5, sessionsPerUser: 40 });
    const quarantined: Array<promise.QuarantinedRow> = [];
    const found = await collect(
      promise.sessions({ ...options, users: "all", onQuarantined: (row) => quarantined.push(row) }),
    );
    expect(quarantined.length).toBeGreaterThan(10);
    expect(found.length + quarantined.length).toBe(120);
  });

  it("makes no request when the signal was aborted before, and throws its reason", async () => {
    const { sandbox, options } = tenant();
    const reason = { because: "of this test" };
    const signal = AbortSignal.abort(reason);
    const thrown = await reasonOf(collect(promise.sessions({ ...options, users: "all", signal })));
    expect(thrown).toBe(reason);
    expect(sandbox.counts.total).toBe(0);
  });

  it("gives not one more session once the signal is aborted, and ends all requests", async () => {
    const { sandbox, options } = tenant(endless);
    const controller = new AbortController();
    let count = 0;
    const reading = async () => {
      const sessions = promise.sessions({ ...options, users: "all", signal: controller.signal });
      for await (const _ of sessions) if (++count === 13) controller.abort("enough");
    };
    expect(await reasonOf(reading())).toBe("enough");
    expect(count).toBe(13);
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });

  it("throws the signal's reason while it waits for an answer that never comes", async () => {
    const { options } = tenant();
    const signal = AbortSignal.timeout(50);
    const fetch = () => new Promise<Response>(() => {});
    const thrown = await reasonOf(collect(promise.sessions({ ...options, users: ["alice"], signal, fetch })));
    expect(thrown).toMatchObject({ name: "TimeoutError" });
  });

  it("ends all requests when the loop is broken off", async () => {
    const { sandbox, options } = tenant(endless);
    let count = 0;
    for await (const _ of promise.sessions({ ...options, users: "all" })) if (++count === 13) break;
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });
});

describe("stream()", () => {
  it.each(["ndjson", "csv", "parquet"] as const)("gives a whole %s file", async (format) => {
    const { sandbox, options } = tenant({ sessionsPerUser: 120 });
    const path = join(await newFolder(), `sessions.${format}`);
    const bytes = await new Response(promise.stream(format, { ...options, users: "all" })).arrayBuffer();
    await writeFile(path, new Uint8Array(bytes));
    const table =
      { ndjson: `read_ndjson('${path}')`, csv: csvTable(path), parquet: parquetTable(path) }[format];
    const rows = await sql(`SELECT user_id || ' ' || session_id AS key FROM ${table}`);
    expect(rows.map(({ key }) => key).sort()).toEqual(keysOf(sandbox));
  });

  it("asks for no more than its reader takes", async () => {
    const { sandbox, options } = tenant({ users: 10_000, sessionsPerUser: 5 });
    const reader = promise.stream("ndjson", { ...options, users: sandbox.userIds() }).getReader();
    await reader.read();
    await new Promise((resume) => setTimeout(resume, 200));
    expect(sandbox.counts.total).toBeLessThan(100);
    await reader.cancel();
  });

  it("ends all requests, and lets go of the users, when it is cancelled", async () => {
    const { sandbox, options } = tenant(endless);
    let closed = false;
    async function* users() {
      try {
        yield* sandbox.userIds();
      } finally {
        closed = true;
      }
    }
    const reader = promise.stream("ndjson", { ...options, users: users() }).getReader();
    await reader.read();
    await reader.cancel("enough");
    expect(await requestsAfterwards(sandbox)).toBe(0);
    expect(closed).toBe(true);
    expect(await reader.read()).toEqual({ done: true, value: undefined });
  });

  it.each(["ndjson", "csv", "parquet"] as const)(
    "errors with the ApiError itself when the export fails midway, and never ends as %s",
    async (format) => {
      const { sandbox, options } = tenant({ users: 500 });
      const fetch = forbiddenAfter(sandbox, 100);
      const reader = promise.stream(format, { ...options, fetch, users: sandbox.userIds() }).getReader();
      const readAll = async () => {
        while (!(await reader.read()).done);
      };
      const error = await reasonOf(readAll());
      expect(error).toBeInstanceOf(ApiError);
      expect(error).toMatchObject({ reason: "Forbidden" });
      await expect(reader.closed).rejects.toBe(error);
    },
  );

  it("errors with the signal's reason, before and midway", async () => {
    const { options } = tenant(endless);
    const text = (signal: AbortSignal) =>
      reasonOf(new Response(promise.stream("csv", { ...options, users: "all", signal })).text());
    expect(await text(AbortSignal.abort("before"))).toBe("before");
    const controller = new AbortController();
    setTimeout(() => controller.abort("midway"), 50);
    expect(await text(controller.signal)).toBe("midway");
  });

  it("errors when it can't even begin", async () => {
    const { options } = tenant();
    const fail = (change: object) =>
      reasonOf(new Response(promise.stream("csv", { ...options, users: ["alice"], ...change })).text());
    expect(await fail({ domain: "http://elsewhere.example" })).toMatchObject({ reason: "InsecureTransport" });
    expect(await fail({ rate: 0 })).toBeInstanceOf(RangeError);
  });

  it("errors on a row that is not a session, unless told to leave it out", async () => {
    const { options } = tenant({ malformed: 0.5, sessionsPerUser: 40 });
    const text = (onInvalid?: "quarantine") =>
      new Response(promise.stream("ndjson", { ...options, users: "all", onInvalid })).text();
    expect(await reasonOf(text())).toMatchObject({ _tag: "ExportError", reason: "InvalidRow" });
    const lines = (await text("quarantine")).trimEnd().split("\n");
    expect(lines.length).toBeGreaterThan(10);
    expect(lines.length).toBeLessThan(110);
  });
});

describe("what can't be verified", () => {
  /** A tenant of thirty users, of whom lists, or the list of users, can't be verified. */
  const reversed = (which: (url: URL) => boolean) => {
    const { sandbox, options } = tenant({ users: 30, sessionsPerUser: 20 });
    const fetch = async (input: string | URL | Request, init?: RequestInit) => {
      const request = new Request(input, init);
      const response = await sandbox.fetch(request);
      return which(new URL(request.url)) ? doubtful(response) : response;
    };
    return { sandbox, options: { ...options, users: "all" as const, pageSize: 10, concurrency: 1, fetch } };
  };
  const users = ({ pathname }: URL) => pathname.endsWith("/users");
  const sessionsOf = (userId: string) => ({ pathname }: URL) => pathname.includes(`/${userId}/`);
  const [firstId = ""] = make({ users: 30, sessionsPerUser: 20 }).userIds();

  /** Reads all that is there, and what it ends with. */
  const endOf = async (read: AsyncIterable<unknown>) => {
    const found: Array<unknown> = [];
    try {
      for await (const one of read) found.push(one);
      return { found, error: undefined };
    } catch (error) {
      return { found, error: error as Error };
    }
  };
  const kinds = ["sessions", "ndjson", "csv", "csv.gz", "parquet"] as const;
  const read = (kind: (typeof kinds)[number], options: Parameters<typeof promise.sessions>[0]) =>
    kind === "sessions" ? promise.sessions(options) : promise.stream(kind, options);

  it.each(kinds)("fails at the end, once all of it has been given: %s", async (kind) => {
    for (const [which, told] of [[users, undefined], [sessionsOf(firstId), firstId]] as const) {
      const { sandbox, options } = reversed(which);
      const lists: Array<promise.Unverified> = [];
      const onUnverified = (list: promise.Unverified) => void lists.push(list);
      const whole = await endOf(read(kind, { ...options, onUnverified, allowUnverified: true }));
      expect(whole.error).toBeUndefined();
      const { found, error } = await endOf(read(kind, { ...options, onUnverified }));
      expect(error).toMatchObject({ _tag: "ExportError", reason: "Unverified" });
      expect(error?.message).toMatch(
        told === undefined
          ? /^The list of users can't be verified: .*allowUnverified\)$/
          : /^The sessions of 1 of 30 users can't be verified, such as "\S+" \(.+\)\. Everything that was found/,
      );
      expect(lists.map(({ userId }) => userId)).toEqual([told, told]);
      expect(lists[0]!.reasons.length).toBeGreaterThan(0);
      if (kind === "sessions") expect(found).toHaveLength(keysOf(sandbox).length);
      else expect(Buffer.concat(found as Array<Buffer>)).toEqual(Buffer.concat(whole.found as Array<Buffer>));
    }
  });

  it.each(kinds)("is a user that failed, where the others go on: %s", async (kind) => {
    const { options } = reversed(() => false);
    const fetch: typeof globalThis.fetch = (input, init) =>
      String(input).includes(firstId)
        ? Promise.resolve(new Response("{}", { status: 422 }))
        : options.fetch(input, init);
    const failing = { ...options, fetch, onFailure: "continue" as const };
    const { error } = await endOf(read(kind, failing));
    expect(error).toMatchObject({ _tag: "ExportError", reason: "Unverified" });
    expect(error?.message).toMatch(/^1 of 30 users failed, such as /);
    expect((await endOf(read(kind, { ...failing, allowUnverified: true }))).error).toBeUndefined();
  });

  it("is nothing to those who have had enough before the end, nor where all is verified", async () => {
    const { options } = reversed(users);
    for await (const _ of promise.sessions(options)) break;
    const reader = promise.stream("ndjson", options).getReader();
    await reader.read();
    await reader.cancel();
    const { options: sound } = reversed(() => false);
    for (const kind of kinds) expect((await endOf(read(kind, sound))).error).toBeUndefined();
  });
});

describe("exportSessions()", () => {
  it("writes files of every format and reports what is in them", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 120 });
    const folder = await newFolder();
    const names = ["s.ndjson", "s.csv.gz", "s.parquet"];
    const out = names.map((name) => join(folder, name));
    const report = await promise.exportSessions({ ...options, users: "all", out });
    expect(report).toMatchObject({
      users: 3,
      sessions: 360,
      verified: true,
      userListUnverifiedReasons: [],
      quarantined: 0,
    });
    expect((await readdir(folder)).sort()).toEqual(names.toSorted());
    for (const { name, bytes, sha256, rows } of report.files) {
      const file = await readFile(name);
      expect([bytes, rows]).toEqual([file.length, 360]);
      expect(sha256).toBe(createHash("sha256").update(file).digest("hex"));
    }
    const lines = (await readFile(out[0]!, "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line));
    expect(lines.map((row) => `${row.user_id} ${row.session_id}`).sort()).toEqual(keysOf(sandbox));
    expect(gunzipSync(await readFile(out[1]!)).toString().trimEnd().split("\r\n")).toHaveLength(361);
  });

  it("exports what changed since a time, and tells how far it has come", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 40 });
    const all = [...sandbox.userIds()].flatMap((id) =>
      [...sandbox.sessions(id)].map((one) => one.last_updated)
    );
    const since = all.toSorted((one, other) => one - other)[70]!;
    const told: Array<promise.Progress> = [];
    const out = join(await newFolder(), "s.parquet");
    const given = { ...options, users: "all", out, since: new Date(since * 1000) } as const;
    const report = await promise.exportSessions({ ...given, onProgress: (progress) => told.push(progress) });
    expect(report.sessions).toBe(all.filter((time) => time >= since).length);
    expect(await sql(`SELECT count(*)::INTEGER AS count FROM ${parquetTable(out)}`)).toEqual([
      { count: report.sessions },
    ]);
    expect(told.at(-1)).toMatchObject({ users: 3, usersTotal: 3, sessions: report.sessions });
    const onProgress = () => {
      throw new Error("this test's");
    };
    expect(await reasonOf(promise.exportSessions({ ...given, onProgress }))).toEqual(
      new Error("this test's"),
    );
  });

  it("puts quarantined rows beside the first file, or where it is told", async () => {
    const { options } = tenant({ malformed: 0.5, sessionsPerUser: 40 });
    const folder = await newFolder();
    const out = join(folder, "s.csv");
    await promise.exportSessions({ ...options, users: "all", out });
    expect((await readdir(folder)).sort()).toEqual(["s.csv", "s.csv.quarantine.ndjson"]);
    await promise.exportSessions({
      ...options,
      users: "all",
      out,
      quarantine: join(folder, "elsewhere.ndjson"),
    });
    expect(await readdir(folder)).toContain("elsewhere.ndjson");
  });

  it("reports a user that the tenant does not know and exports the others", async () => {
    const { sandbox, options } = tenant();
    const out = join(await newFolder(), "s.csv");
    const users = ["nobody", ...sandbox.userIds()];
    const report = await promise.exportSessions({ ...options, users, out });
    expect(report).toMatchObject({ users: 4, sessions: 21, missing: { count: 1, first: ["nobody"] } });
  });

  it('does not call an export verified when the list of "all" users is not', async () => {
    const { sandbox, options } = tenant({ users: 300, sessionsPerUser: 1 });
    const out = join(await newFolder(), "s.csv");
    // A list of users of which the tenant counts more than it lists can't be verified for.
    const fetch = async (input: string | URL | Request, init?: RequestInit) => {
      const request = new Request(input, init);
      const response = await sandbox.fetch(request);
      if (!new URL(request.url).pathname.endsWith("/users")) return response;
      return doubtful(response);
    };
    const report = await promise.exportSessions({ ...options, users: "all", out, fetch });
    expect(report.sessions).toBe(300);
    expect(report.userListUnverifiedReasons).not.toEqual([]);
    expect(report.verified).toBe(false);
  });

  it("rejects with the signal's reason, stops its requests and leaves no file", async () => {
    const { sandbox, options } = tenant(endless);
    const folder = await newFolder();
    const controller = new AbortController();
    setTimeout(() => controller.abort("enough"), 100);
    const out = [join(folder, "s.csv.gz"), join(folder, "s.parquet")];
    const { signal } = controller;
    expect(await reasonOf(promise.exportSessions({ ...options, users: "all", out, signal }))).toBe("enough");
    expect(await readdir(folder)).toEqual([]);
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });

  it("rejects with the error itself and leaves no file", async () => {
    const { sandbox, options } = tenant();
    const folder = await newFolder();
    const fail = (change: object) =>
      reasonOf(promise.exportSessions({
        ...options,
        users: sandbox.userIds(),
        out: join(folder, "s.csv"),
        ...change,
      }));
    expect(await fail({ apiKey: "another-key" })).toBeInstanceOf(ApiError);
    expect(await fail({ users: ["nobody"] })).toMatchObject({ reason: "NoSuchUsers" });
    expect(await fail({ out: join(folder, "absent", "s.csv") })).toMatchObject({ _tag: "SinkError" });
    expect(await fail({ users: "alice" })).toBeInstanceOf(TypeError);
    expect(await readdir(folder)).toEqual([]);
  });

  it("refuses names that it can't make sense of", async () => {
    const { options } = tenant();
    const message = async (out: string | Array<string>, quarantine?: string) =>
      `${await reasonOf(promise.exportSessions({ ...options, users: "all", out, quarantine }))}`;
    expect(await message([])).toBe("TypeError: Cannot export as 'out' names no file");
    expect(await message("sessions.xlsx")).toBe(
      "TypeError: Cannot export to sessions.xlsx as its name must end in one of " +
        ".ndjson .ndjson.gz .csv .csv.gz .parquet",
    );
    expect(await message(["a.csv", "a.csv"])).toBe("TypeError: Cannot export to a.csv as it is named twice");
    expect(await message("a.ndjson", "a.ndjson")).toContain("named twice");
  });
});
