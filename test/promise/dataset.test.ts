/** Folders, over real HTTP and read back by DuckDB. */
import { appendFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import * as promise from "../../src/promise.ts";
import { make, type SandboxOptions, serve } from "../../src/sandbox/mod.ts";
import { run, until } from "../cli/command.ts";
import { keysInEach, parquetTable, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { keysOf, reasonOf, tenant } from "./tenant.ts";

const FORMATS = ["ndjson", "csv", "parquet"] as const;

/** A tenant on a port, and a folder for what it has. */
const served = async (options: SandboxOptions = {}) => {
  const sandbox = make({ users: 5, sessionsPerUser: 12, ...options });
  const server = await serve(sandbox);
  onTestFinished(() => server.close());
  const folder = join(await newFolder(), "sessions");
  const given = {
    domain: server.url,
    apiKey: sandbox.key,
    rate: 10_000,
    users: "all",
    folder,
    formats: FORMATS,
  } as const satisfies promise.DatasetOptions;
  return { sandbox, folder, options: given };
};

const isFaultless = async (folder: string) => expect((await promise.verify(folder)).problems).toEqual([]);

describe("dataset()", () => {
  it("writes every session once in each format, and reports it", async () => {
    const { sandbox, folder, options } = await served();
    const told: Array<promise.Progress> = [];
    const report = await promise.dataset({ ...options, onProgress: (progress) => told.push(progress) });
    expect(report).toMatchObject({
      run: 1,
      kind: "full",
      users: 5,
      sessions: 60,
      verified: true,
      userListUnverifiedReasons: [],
      wasFinished: false,
    });
    expect(report.files.map(({ path }) => path).sort()).toEqual([
      "csv/part-00000.csv",
      "ndjson/part-00000.ndjson",
      "parquet/part-00000.parquet",
    ]);
    expect(told.at(-1)).toMatchObject({ users: 5, usersTotal: 5, sessions: 60 });
    for (const keys of await keysInEach(folder)) expect(keys).toEqual(keysOf(sandbox));
    await isFaultless(folder);
  });

  it("asks by activity only who changed", async () => {
    const { sandbox, options } = await served({ users: 40, sessionsPerUser: 3 });
    const hourly = { ...options, sinceLast: true, resume: true, byActivity: true } as const;
    expect((await promise.dataset(hourly)).by_activity).toMatchObject({ asked: 40, of: 40 });
    const [userId = ""] = sandbox.userIds();
    sandbox.add(userId);
    const { sessions, by_activity, tombstones } = await promise.dataset(hourly);
    expect([sessions, tombstones, by_activity!.asked < 10]).toEqual([1, undefined, true]);
    const swept = await promise.dataset({ ...hourly, sweepEvery: 0 });
    expect(swept).toMatchObject({ by_activity: { asked: 40, late: 0 }, tombstones: { users: 40, gone: 0 } });
  });

  it("goes on after a signal, with what has come by then", async () => {
    const { sandbox, folder, options } = await served({ users: 60, faults: { latencyMs: 20 } });
    const controller = new AbortController();
    void until(() => sandbox.counts.total > 25, "some have come").then(() => controller.abort("enough"));
    const { signal } = controller;
    expect(await reasonOf(promise.dataset({ ...options, concurrency: 2, signal }))).toBe("enough");
    const error = await reasonOf(promise.dataset(options));
    expect(error).toSatisfy(promise.isDatasetError);
    expect(error).toMatchObject({ reason: "Occupied" });
    const before = sandbox.counts.total;
    expect(before).toBeGreaterThan(5);
    const report = await promise.dataset({ ...options, resume: true });
    expect(report).toMatchObject({ run: 1, users: 60, sessions: 720, verified: true });
    expect(sandbox.counts.total - before).toBeLessThan(60);
    for (const keys of await keysInEach(folder)) expect(keys).toEqual(keysOf(sandbox));
    await isFaultless(folder);
    expect(await promise.dataset({ ...options, resume: true })).toMatchObject({ wasFinished: true });
  });

  it("adds what changed since the last run, and tombstones for what ended", async () => {
    const { sandbox, folder, options } = await served();
    const [userId = ""] = sandbox.userIds();
    const keep = { ...options, sinceLast: true, prune: true, resume: true };
    await promise.dataset(keep);
    const [ended] = sandbox.sessions(userId);
    sandbox.remove(userId, ended!.session_id);
    sandbox.add(userId);
    const report = await promise.dataset(keep);
    expect(report).toMatchObject({
      run: 2,
      kind: "changes",
      sessions: 1,
      tombstones: { users: 5, gone: 1, again: 0 },
    });
    const [tombstone] = await sql(
      `SELECT user_id, session_id FROM read_json('${folder}/tombstones/*.ndjson')`,
    );
    expect(tombstone).toEqual({ user_id: userId, session_id: ended!.session_id });
    await isFaultless(folder);
  });

  it("exports what changed since a time", async () => {
    const { sandbox, folder, options } = await served({ sessionsPerUser: 40 });
    const times = [...sandbox.userIds()].flatMap((id) =>
      [...sandbox.sessions(id)].map((one) => one.last_updated)
    );
    const since = times.toSorted((one, other) => one - other)[150]!;
    const report = await promise.dataset({ ...options, since: new Date(since * 1000) });
    expect(report.sessions).toBe(times.filter((time) => time >= since).length);
    expect((await keysInEach(folder))[2]).toHaveLength(report.sessions);
  });

  it("filters, maps and redacts, in every format alike", async () => {
    const { folder, options } = await served();
    const given = {
      ...options,
      filter: ({ initiated_at }: promise.Session) => initiated_at % 2 === 0,
      map: (session: promise.Session) => ({ ...session, client_ids: ["ours"] }),
      redact: { policy: { ip: "hash", location: "drop" }, secret: "a secret of at least thirty-two bytes" },
    } as const;
    const report = await promise.dataset(given);
    expect(report.sessions).toBeGreaterThan(5);
    expect(report.sessions).toBeLessThan(55);
    const rows = await sql(
      `SELECT client_ids, country, ip_address FROM ${parquetTable(`${folder}/parquet/*.parquet`)}`,
    );
    expect(rows).toHaveLength(report.sessions);
    for (const row of rows) {
      expect(row).toMatchObject({ client_ids: ["ours"], country: null });
      expect(row["ip_address"] ?? "0".repeat(64)).toMatch(/^[0-9a-f]{64}$/);
    }
    await isFaultless(folder);
    // Without the filter, the next run would add what this one left out.
    const { filter: _, ...unfiltered } = given;
    const error = await reasonOf(promise.dataset({ ...unfiltered, sinceLast: true }));
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Options" });
    expect((error as Error).message).toContain("'filter' was true");
    const replayed = await reasonOf(promise.replay(folder));
    expect(replayed).toMatchObject({ _tag: "DatasetError", reason: "Options" });
  });

  it("goes on with what the command line began, and the other way round", async () => {
    const { sandbox, folder, options } = await served();
    const env = { MONOCLOUD_DOMAIN: options.domain, MONOCLOUD_API_KEY: options.apiKey };
    const formats = FORMATS.flatMap((format) => ["--format", format]);
    const redact = ["--redact", "ip=truncate,user_agent=drop"];
    const export_ = [
      "export",
      "--all-users",
      "--out",
      folder,
      ...formats,
      ...redact,
      "--quiet",
      "--since-last",
    ];
    const command = async () => expect(await run(export_, { env })).toMatchObject({ code: 0, err: "" });
    const [userId = ""] = sandbox.userIds();
    const policy = { user_agent: "drop", ip: "truncate" } as const;
    await command();
    sandbox.add(userId);
    const report = await promise.dataset({ ...options, redact: { policy }, sinceLast: true });
    expect(report).toMatchObject({ run: 2, kind: "changes", sessions: 1 });
    sandbox.add(userId);
    await command();
    for (const keys of await keysInEach(folder)) expect(keys).toEqual(keysOf(sandbox));
    await isFaultless(folder);
    const error = await reasonOf(promise.dataset({ ...options, sinceLast: true }));
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Options" });
    expect((error as Error).message).toContain("'redact' was ");
  });

  it("takes users by name, from any iterable, each once", async () => {
    const { sandbox, options } = await served();
    const [one = "", other = ""] = sandbox.userIds();
    async function* users() {
      yield one;
      await Promise.resolve();
      yield other;
      yield one;
    }
    expect(await promise.dataset({ ...options, users: users() })).toMatchObject({ users: 2, sessions: 24 });
  });

  it("rejects with the error itself, and with a refused key leaves nothing that is in the way", async () => {
    const { options } = await served();
    const error = await reasonOf(promise.dataset({ ...options, apiKey: "another-key" }));
    expect(error).toSatisfy(promise.isApiError);
    expect(error).toMatchObject({ reason: "Unauthorized" });
    expect(await reasonOf(promise.dataset({ ...options, domain: "http://acme.example" }))).toSatisfy(
      promise.isTenantError,
    );
    expect(await promise.dataset({ ...options, resume: true })).toMatchObject({ sessions: 60 });
  });

  it("rejects with what the progress callback throws", async () => {
    const { options } = await served({ users: 300, faults: { latencyMs: 20 } });
    const onProgress = () => {
      throw new Error("this test's");
    };
    expect(await reasonOf(promise.dataset({ ...options, onProgress }))).toEqual(new Error("this test's"));
  });

  it.each([
    [{ folder: "" }, "'folder' is empty"],
    [{ formats: [] }, "'formats' names none"],
    [
      { formats: "xlsx" },
      '\'formats\' must be "ndjson" or "ndjson.gz" or "csv" or "csv.gz" or "parquet": it is "xlsx"',
    ],
    [{ prune: true }, "'prune' compares with what is there: give 'sinceLast' as well"],
    [{ sinceLast: true, since: new Date(0) }, "'sinceLast' and 'since' can't be combined"],
    [
      { sinceLast: true, sort: "session_id:1" },
      "'sinceLast' and 'since' read newest change first: leave out 'sort'",
    ],
    [{ lookback: 5 }, "'lookback' goes with 'sinceLast'"],
    [
      { sinceLast: true, lookback: "5 minute s" },
      "'lookback' must be milliseconds from 0 on, or a text such as \"30 seconds\": it is a string",
    ],
    [{ byActivity: true }, "'byActivity' goes with 'sinceLast' and users: \"all\""],
    [{ byActivity: true, sinceLast: true, users: ["a"] }, "'byActivity' goes with 'sinceLast'"],
    [{ sinceLast: true, sweepEvery: "1 hour" }, "'sweepEvery' goes with 'byActivity'"],
    [{ partRows: 0 }, "'partRows' must be a positive integer"],
    [{ onFailure: "stop" }, 'there is no option "onFailure"'],
    [{ since: new Date(NaN) }, "'since' must be a Date that is valid: it is an instance of Date"],
    [{ users: [undefined] }, "'users' must be user ids, which are texts: one of them is undefined"],
  ])("refuses %o", async (change, flaw) => {
    const { sandbox, options } = tenant();
    const folder = join(await newFolder(), "sessions");
    const given = { ...options, users: "all", folder, formats: "csv", ...change } as never;
    const error = await reasonOf(promise.dataset(given));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(`Cannot export into a folder as ${flaw}`);
    expect(sandbox.counts.total).toBe(0);
    await expect(readdir(folder)).rejects.toThrow("ENOENT");
  });
});

describe("verify()", () => {
  it("tells what is not as it was written, and what it has read so far", async () => {
    const { folder, options } = await served();
    await promise.dataset(options);
    const told: Array<promise.VerifyProgress> = [];
    const sound = await promise.verify(folder, { onProgress: (progress) => told.push(progress) });
    expect(sound).toMatchObject({ parts: 4, sessions: 60, rows: 180, unfinished: false, problems: [] });
    expect(told.at(-1)).toEqual({ parts: 4, partsTotal: 4, rows: 185, rowsTotal: 185 });
    await appendFile(join(folder, "csv/part-00000.csv"), "a line\r\n");
    const { problems } = await promise.verify(folder);
    expect(problems.map(({ path }) => path)).toContain("csv/part-00000.csv");
  });

  it("rejects where there is no dataset, and on what is no folder or no option", async () => {
    expect(await reasonOf(promise.verify("no/such/folder"))).toMatchObject({
      _tag: "DatasetError",
      reason: "Absent",
    });
    const flaw = async (...given: ReadonlyArray<unknown>) =>
      (await reasonOf(
        (promise.verify as (...given: ReadonlyArray<unknown>) => Promise<unknown>)(...given),
      ) as Error)
        .message;
    expect(await flaw()).toBe("Cannot verify as 'folder' must be a text: it is undefined");
    expect(await flaw("")).toBe("Cannot verify as 'folder' is empty");
    expect(await flaw("x", { progres: 1 })).toContain('there is no option "progres"');
    expect(await reasonOf(promise.verify("x", { signal: AbortSignal.abort("enough") }))).toBe("enough");
  });
});

describe("replay()", () => {
  it("makes sessions of the rows that pass by now, and leaves the others where they are", async () => {
    const { sandbox, folder, options } = await served({ malformed: 0.2 });
    const { sessions, quarantined } = await promise.dataset(options);
    expect(quarantined).toBeGreaterThan(3);
    expect(await promise.replay(folder)).toMatchObject({
      rows: quarantined,
      sessions: 0,
      quarantined,
      files: [],
    });
    await mend(folder);
    const report = await promise.replay(folder);
    expect(report).toMatchObject({ rows: quarantined, sessions: 1, quarantined: quarantined - 1 });
    const [ndjson = []] = await keysInEach(folder);
    expect(ndjson).toHaveLength(sessions + 1);
    expect(keysOf(sandbox)).toHaveLength(60);
    await isFaultless(folder);
  });

  it("rejects where there is no dataset, or a run that has not finished", async () => {
    expect(await reasonOf(promise.replay("no/such/folder"))).toSatisfy(promise.isDatasetError);
    const { sandbox, folder, options } = await served({ users: 60, faults: { latencyMs: 20 } });
    const controller = new AbortController();
    void until(() => sandbox.counts.total > 25, "some have come").then(() => controller.abort("enough"));
    await reasonOf(promise.dataset({ ...options, concurrency: 2, signal: controller.signal }));
    expect(await reasonOf(promise.replay(folder))).toMatchObject({
      _tag: "DatasetError",
      reason: "Occupied",
    });
  });
});

/** Makes a session of the first row that was quarantined, as a newer version of the schema might, and says so in the manifest. */
const mend = async (folder: string) => {
  const { createHash } = await import("node:crypto");
  const path = "quarantine/part-00000.ndjson";
  const [line = "", ...lines] = (await readFile(join(folder, path), "utf8")).split("\n");
  const times = { initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 };
  const row = JSON.stringify({ session_id: "mended", client_ids: [], ...times });
  const text = [JSON.stringify({ ...JSON.parse(line), row }), ...lines].join("\n");
  await writeFile(join(folder, path), text);
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  const part = manifest.parts.find((part: { path: string }) => part.path === path);
  manifest.runs[0].bytes += Buffer.byteLength(text) - part.bytes;
  part.bytes = Buffer.byteLength(text);
  part.sha256 = createHash("sha256").update(text).digest("hex");
  await writeFile(join(folder, "manifest.json"), JSON.stringify(manifest));
};
