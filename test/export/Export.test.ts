import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as FiberId from "effect/FiberId";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { describe, expect, it, onTestFinished } from "vitest";
import * as Batch from "../../src/session/Batch.ts";
import * as Export from "../../src/export/Export.ts";
import { SinkError } from "../../src/sink/Sink.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as FileSink from "../../src/sink/FileSink.ts";
import { type FaultOptions, make, type Sandbox, type SandboxOptions, serve } from "../../src/sandbox/mod.ts";
import * as Session from "../../src/session/Session.ts";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Tenant from "../../src/api/Tenant.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as SessionSource from "../../src/source/SessionSource.ts";
import { version } from "../../src/version.ts";
import { example, examples } from "../contract/sessions.ts";
import { csvTable, keysFrom, parquetTable, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { clientFor } from "../source/paging/histories.ts";
import { isLong } from "../size.ts";

/** The sandbox behind a real port. */
const listening = async (options: SandboxOptions, policy: TenantClient.TenantClientOptions) => {
  const sandbox = make(options);
  const server = await serve(sandbox);
  onTestFinished(() => server.close());
  const tenant = Either.getOrThrow(Tenant.make({ domain: server.url, apiKey: sandbox.key }));
  return { sandbox, http: Layer.provide(TenantClient.layerOf(tenant, policy), Transport.fetch()) };
};

const keysOf = (sandbox: Sandbox): Array<string> =>
  [...sandbox.userIds()].flatMap((userId) =>
    [...sandbox.sessions(userId)].map(({ session_id }) => `${userId} ${session_id}`)
  ).sort();

const targetsIn = (folder: string) =>
  Formats.builtInNames.map((name): Export.Target => ({
    format: Formats.make(name),
    output: FileSink.make(join(folder, `sessions.${name}`)),
  }));

it(
  "an export of 300 users from a tenant that fails half the time holds exactly its sessions, in every format",
  async () => {
    const faults: FaultOptions = {
      "429": 0.1,
      "500": 0.1,
      reset: 0.1,
      cut: 0.1,
      slow: 0.1,
      slowMs: 50,
      retryAfter: "none",
    };
    const { sandbox, http } = await listening(
      { users: 300, sessionsPerUser: { mean: 30 }, faults, seed: 7 },
      { rate: 5000, baseDelay: "5 millis", maxAttempts: 20 },
    );
    const folder = await newFolder();
    const report = await Export.run({
      source: SessionSource.batches(Stream.fromIterable(sandbox.userIds()), {
        pageSize: 50,
        concurrency: 16,
      }),
      targets: targetsIn(folder),
    }).pipe(Effect.provide(http), Effect.runPromise);

    const expected = keysOf(sandbox);
    const path = (name: string) => join(folder, `sessions.${name}`);
    const lines = (await readFile(path("ndjson"), "utf8")).trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    expect(lines.map((row) => `${row.user_id} ${row.session_id}`).sort()).toEqual(expected);
    expect(await keysFrom(csvTable(path("csv")))).toEqual(expected);
    expect(await keysFrom(parquetTable(path("parquet")))).toEqual(expected);
    expect(report).toMatchObject({ users: 300, sessions: expected.length, verified: true, quarantined: 0 });
    expect(Object.keys(sandbox.counts.byFault).sort()).toEqual(["429", "500", "cut", "reset"]);
  },
  120_000,
);

const ndjsonTable = (path: string) =>
  `(SELECT user_id, session_id, session_key, client_ids, to_timestamp(initiated_at) AS initiated_at,
      to_timestamp(expires_at) AS expires_at, to_timestamp(last_updated) AS last_updated,
      last_metadata.country, last_metadata.region, last_metadata.city,
      TRY_CAST(last_metadata.latitude AS DOUBLE) AS latitude, TRY_CAST(last_metadata.longitude AS DOUBLE) AS longitude,
      last_metadata.ip_address, last_metadata.user_agent
    FROM read_json('${path}', format = 'newline_delimited', columns = {
      user_id: 'VARCHAR', session_id: 'VARCHAR', session_key: 'VARCHAR', client_ids: 'VARCHAR[]',
      initiated_at: 'BIGINT', expires_at: 'BIGINT', last_updated: 'BIGINT',
      last_metadata: 'STRUCT(country VARCHAR, region VARCHAR, city VARCHAR, latitude VARCHAR, longitude VARCHAR,
        ip_address VARCHAR, user_agent VARCHAR)'}))`;

/** How many rows are in one table and not in the other. */
const differences = async (left: string, right: string): Promise<bigint> => {
  const [row] = await sql(
    `SELECT count(*) AS n FROM ((FROM ${left} EXCEPT ALL FROM ${right}) UNION ALL (FROM ${right} EXCEPT ALL FROM ${left}))`,
  );
  return row!["n"] as bigint;
};

const COUNT = isLong ? 100_000 : 15_000;

it(`the three files of ${COUNT} sessions hold the same rows and values, with types`, async () => {
  const sandbox = make({ users: COUNT / 250, sessionsPerUser: 250, unknownFields: true, seed: 3 });
  const folder = await newFolder();
  const file = (name: string) => join(folder, name);
  const csv = (escapeFormulas: boolean, name: string): Export.Target => ({
    format: Formats.make("csv", { csv: { escapeFormulas } }),
    output: FileSink.make(file(name)),
  });
  await Export.run({
    source: SessionSource.batches(Stream.fromIterable(sandbox.userIds())),
    targets: [...targetsIn(folder), csv(false, "raw.csv"), csv(true, "safe.csv")],
  }).pipe(Effect.provide(clientFor(sandbox)), Effect.runPromise);
  const parquet = parquetTable(file("sessions.parquet"));

  expect(await sql(`SELECT count(*) AS n, count(DISTINCT (user_id, session_id)) AS distinct FROM ${parquet}`))
    .toEqual([{ n: BigInt(COUNT), distinct: BigInt(COUNT) }]);
  expect(await differences(csvTable(file("raw.csv")), parquet)).toBe(0n);
  expect(
    await differences(
      ndjsonTable(file("sessions.ndjson")),
      `(SELECT * EXCLUDE _rescued_data FROM ${parquet})`,
    ),
  )
    .toBe(0n);
  const types = Object.fromEntries(
    (await sql(`DESCRIBE FROM ${parquet}`)).map(({ column_name, column_type }) => [column_name, column_type]),
  );
  expect(types).toMatchObject({
    initiated_at: "TIMESTAMP WITH TIME ZONE",
    client_ids: "VARCHAR[]",
    latitude: "DOUBLE",
    _rescued_data: "VARCHAR",
  });

  // The default CSV: null and "" stay apart, and no text is a formula any more.
  const kinds = `count(*) FILTER (city IS NULL) AS nulls, count(*) FILTER (city = '') AS empty`;
  const [inParquet] = await sql(`SELECT ${kinds} FROM ${parquet}`);
  expect(await sql(`SELECT ${kinds} FROM ${csvTable(file("safe.csv"))}`)).toEqual([inParquet]);
  expect(Object.values(inParquet!).every((count) => Number(count) > 0)).toBe(true);
  const formulas = `SELECT count(*) AS n FROM TABLE WHERE regexp_matches(user_agent, '^[=+@\t\r-]')`;
  const count = async (table: string) => Number((await sql(formulas.replace("TABLE", table)))[0]!["n"]);
  expect(await count(parquet)).toBeGreaterThan(COUNT / 1000);
  expect(await count(csvTable(file("safe.csv")))).toBe(0);
}, 120_000);

it("rows that are not sessions are quarantined whole, and all others exported", async () => {
  const sandbox = make({ users: 20, sessionsPerUser: 60, malformed: 0.1 });
  const folder = await newFolder();
  const progress = Export.noProgress();
  const report = await Export.run({
    source: SessionSource.batches(Stream.fromIterable(sandbox.userIds()), { pageSize: 25 }),
    targets: targetsIn(folder),
    quarantine: FileSink.make(join(folder, "quarantined.ndjson")),
    progress,
  }).pipe(Effect.provide(clientFor(sandbox)), Effect.runPromise);
  const quarantined = (await readFile(join(folder, "quarantined.ndjson"), "utf8")).trimEnd().split("\n").map((
    line,
  ) => JSON.parse(line));
  expect(report.quarantined).toBeGreaterThan(60);
  expect(quarantined).toHaveLength(report.quarantined);
  // Some are no objects but the same `null`: of a user, as many are known as one page has held. All others are there once.
  const key = (userId: string, row: string) => `${userId} ${row}`;
  const isObject = (key: string) => key.includes("{");
  const delivered = [
    ...(await readFile(join(folder, "sessions.ndjson"), "utf8")).trimEnd().split("\n").map((line) => {
      const { user_id, ...session } = JSON.parse(line);
      return key(user_id, JSON.stringify(session));
    }),
    ...quarantined.map(({ user_id, row }) => key(user_id, JSON.stringify(JSON.parse(row)))),
  ].toSorted();
  const served = (await Promise.all([...sandbox.userIds()].map(async (userId) => {
    const url = `https://sandbox.example/api/users/${userId}/sessions?size=1000`;
    const answer = await sandbox.fetch(new Request(url, { headers: { "X-API-KEY": sandbox.key } }));
    return (await answer.json()).map((row: unknown) => key(userId, JSON.stringify(row)));
  }))).flat().toSorted();
  expect(served).toHaveLength(20 * 60);
  expect(delivered.filter(isObject)).toEqual(served.filter(isObject));
  expect(new Set(delivered)).toEqual(new Set(served));
  for (const { message, paths, page, index, row, ...others } of quarantined) {
    expect(message).toMatch(/\w/);
    const decoded = Session.decode(JSON.parse(row));
    expect(paths).toEqual(Either.match(decoded, { onLeft: ({ paths }) => paths, onRight: () => "valid" }));
    expect(others).toMatchObject({ version });
    expect(others).not.toHaveProperty("redacted");
    expect(page).toBeGreaterThan(0);
    expect(index).toBeGreaterThanOrEqual(0);
    expect(() => JSON.parse(row)).not.toThrow();
  }
  expect(report.files.map(({ format, rows }) => [format, rows])).toContainEqual([
    "quarantine",
    report.quarantined,
  ]);
});

it("onInvalid 'fail' fails on the first such row, names it, and leaves no file", async () => {
  const sandbox = make({ users: 3, sessionsPerUser: 60, malformed: 0.2 });
  const folder = await newFolder();
  const error = await Export.run({
    source: SessionSource.batches(Stream.fromIterable(sandbox.userIds())),
    targets: targetsIn(folder),
    onInvalid: "fail",
  }).pipe(Effect.provide(clientFor(sandbox)), Effect.flip, Effect.runPromise);
  expect(error).toMatchObject({ _tag: "ExportError", reason: "InvalidRow" });
  expect(error.message).toMatch(/User \S+, page 1 \(of size 100\), row \d+ is not a session: /);
  expect(await readdir(folder)).toEqual([]);
});

describe("maxQuarantined", () => {
  const row = (index: number) => ({
    userId: "alice",
    page: 1,
    size: 100,
    index,
    paths: ["expires_at"],
    message: "expires_at: is missing",
    source: "{}",
  });
  /** Batches of a hundred rows, of which so many are quarantined. */
  const run = (quarantined: ReadonlyArray<number>, maxQuarantined: Export.MaxQuarantined) => {
    const progress = Export.noProgress();
    const source = Stream.fromIterable(quarantined).pipe(
      Stream.map((count): Batch.Batch => ({
        ...Batch.make("alice", examples(100 - count)),
        quarantined: Array.from({ length: count }, (_, index) => row(index)),
      })),
    );
    return Effect.runPromise(Effect.either(Export.run({ source, targets: [], maxQuarantined, progress })))
      .then(
        Either.match({
          onLeft: ({ reason, message }) => [reason, message, progress.sessions + progress.quarantined],
          onRight: (report) => report.quarantined,
        }),
      );
  };
  const first =
    "The first: User alice, page 1 (of size 100), row 0 is not a session: expires_at: is missing. " +
    "If that is as it should be, allow more of them (--max-quarantined)";

  it("as a count fails with the first row once there are more, and not before", async () => {
    expect(await run([2, 3, 0], { count: 5 })).toBe(5);
    expect(await run([0, 0], { count: 0 })).toBe(0);
    const message = `6 of 200 rows are not sessions, and at most 5 may be. ${first}`;
    expect(await run([2, 4, 0, 0], { count: 5 })).toEqual(["TooManyQuarantined", message, 200]);
  });

  it("as a share is judged from 1,000 rows on, and at the end", async () => {
    const few = [50, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    expect(await run(few, { percent: 5 })).toBe(50);
    const message = (of: number) => `51 of ${of} rows are not sessions, and at most 5 % may be. ${first}`;
    expect(await run([51, ...few.slice(1), 0, 0], { percent: 5 })).toEqual([
      "TooManyQuarantined",
      message(1000),
      1000,
    ]);
    expect(await run([51, 0], { percent: 5 })).toEqual(["TooManyQuarantined", message(200), 200]);
  });
});

it("a user that the tenant does not know is reported and does not stop the others", async () => {
  const sandbox = make({ users: 5, sessionsPerUser: 3 });
  const report = await Export.run({
    source: SessionSource.batches(Stream.fromIterable(["nobody", ...sandbox.userIds()])),
    targets: [],
  }).pipe(Effect.provide(clientFor(sandbox)), Effect.runPromise);
  expect(report).toMatchObject({ users: 6, sessions: 15, missing: { count: 1, first: ["nobody"] } });
});

it("an export fails when the tenant knows none of the users", async () => {
  const sandbox = make({ users: 1 });
  const folder = await newFolder();
  const error = await Export.run({
    source: SessionSource.batches(Stream.make("nobody")),
    targets: targetsIn(folder),
  }).pipe(Effect.provide(clientFor(sandbox)), Effect.flip, Effect.runPromise);
  expect(error).toMatchObject({ _tag: "ExportError", reason: "NoSuchUsers" });
  expect(await readdir(folder)).toEqual([]);
});

it("a refused key stops a run of many users at once", async () => {
  const sandbox = make({ users: 500, sessionsPerUser: 1 });
  const error = await Export.run({
    source: SessionSource.batches(Stream.fromIterable(sandbox.userIds()), { concurrency: 4 }),
    targets: [],
  }).pipe(Effect.provide(clientFor({ ...sandbox, key: "another-key" })), Effect.flip, Effect.runPromise);
  expect(error).toMatchObject({ _tag: "ApiError", reason: "Unauthorized" });
  expect(sandbox.counts.total).toBeLessThanOrEqual(8);
});

it("an interrupted export leaves no file", async () => {
  const folder = await newFolder();
  const endless = Stream.repeatEffect(
    Effect.delay(Effect.sync(() => Batch.make("alice", [example()])), "1 millis"),
  );
  const exit = await Export.run({ source: endless, targets: targetsIn(folder) }).pipe(
    Effect.timeout("100 millis"),
    Effect.runPromiseExit,
  );
  expect(Exit.isFailure(exit)).toBe(true);
  expect(await readdir(folder)).toEqual([]);
});

it("an output that can't be kept leaves no other one visible", async () => {
  const folder = await newFolder();
  const full = {
    name: "full",
    open: Effect.succeed({
      write: () => Effect.void,
      prepare: Effect.fail(new SinkError({ reason: "Commit", path: "full", cause: undefined })),
      commit: Effect.succeed({ bytes: 0 }),
    }),
  };
  const exit = await Effect.runPromiseExit(Export.run({
    source: Stream.make(Batch.make("alice", [example()])),
    targets: [...targetsIn(folder), { format: Formats.make("ndjson"), output: full }],
  }));
  expect(Exit.isFailure(exit)).toBe(true);
  expect(await readdir(folder)).toEqual([]);
});

it("whoever interrupts once the first file has its name comes too late for any", async () => {
  const folder = await newFolder();
  const told: Array<Export.Report> = [];
  const targets = targetsIn(folder);
  const committing = Deferred.unsafeMake<void>(FiberId.none);
  const first = {
    name: "first",
    open: Effect.succeed({
      write: () => Effect.void,
      prepare: Effect.void,
      commit: Effect.zipRight(Deferred.succeed(committing, undefined), Effect.sleep("20 millis")).pipe(
        Effect.as({ bytes: 0 }),
      ),
    }),
  };
  const exit = await Effect.runPromise(Effect.gen(function* () {
    const fiber = yield* Effect.fork(Export.run({
      source: Stream.make(Batch.make("alice", [example()])),
      targets: [{ format: Formats.make("ndjson"), output: first }, ...targets],
      onComplete: (report) => Effect.delay(Effect.sync(() => void told.push(report)), "10 millis"),
    }));
    yield* Deferred.await(committing);
    return yield* Fiber.interrupt(fiber);
  }));
  expect(Exit.isInterrupted(exit)).toBe(true);
  expect(await readdir(folder)).toHaveLength(targets.length);
  expect(told).toMatchObject([{ sessions: 1 }]);
});

it("the slowest output sets the pace: the source runs no more than a batch ahead", async () => {
  let produced = 0;
  let written = 0;
  let ahead = 0;
  const source = Stream.repeatEffect(Effect.sync(() => {
    ahead = Math.max(ahead, ++produced - written);
    return Batch.make("alice", [example()]);
  })).pipe(Stream.take(50));
  const slow = {
    name: "slow",
    open: Effect.succeed({
      write: () => Effect.delay(Effect.sync(() => void written++), "1 millis"),
      commit: Effect.succeed({ bytes: 0 }),
    }),
  };
  await Effect.runPromise(
    Export.run({ source, targets: [{ format: Formats.make("ndjson"), output: slow }] }),
  );
  expect(written).toBe(50);
  expect(ahead).toBe(1);
});
