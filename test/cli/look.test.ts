/** A look at a tenant: some of its sessions, its users, and CSV for a spreadsheet. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { problemsOf } from "../dataset/written.ts";
import { sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { intercepted, keysIn, keysOf, run, shell, tenant } from "./command.ts";
import { oneIn } from "../size.ts";

const all = ["export", "--all-users", "--rate", "5000/s"];

describe("--limit", () => {
  it.each(oneIn(3, [1, 7, 100, 250]))(
    "ends an export after %d sessions, and says that it is not verified",
    async (limit) => {
      const { sandbox, env } = await tenant({ users: 200, sessionsPerUser: 30 });
      const cwd = await newFolder();
      const { code, out, err } = await run([...all, "--out", "s.ndjson", "--limit", `${limit}`, "--json"], {
        env,
        cwd,
      });
      expect(code).toBe(4);
      expect(JSON.parse(out)).toMatchObject({ sessions: limit, verified: false, is_limited: true });
      expect(err).toContain(`Warning: --limit ended the export after ${limit} session`);
      expect(err).not.toContain("; verified");
      const keys = keysIn(await readFile(join(cwd, "s.ndjson"), "utf8"));
      expect(new Set(keys).size).toBe(limit);
      const every = new Set(keysOf(sandbox));
      expect(keys.filter((key) => !every.has(key))).toEqual([]);
      expect(sandbox.counts.total).toBeLessThan(150);
    },
  );

  it("counts no users, as those it has met were begun and not ended", async () => {
    const { env } = await tenant({ users: 5, sessionsPerUser: 30 });
    const { err } = await run([...all, "--out", "s.ndjson", "--limit", "7"], { env, cwd: await newFolder() });
    expect(err).toMatch(/^7 sessions in \d+s, \d+ requests?, /m);
  });

  it("that is not reached changes nothing", async () => {
    const { env } = await tenant({ users: 5, sessionsPerUser: 4 });
    const args = [...all, "--out", "s.csv", "--limit", "1000"];
    const { code, err } = await run(args, { env, cwd: await newFolder() });
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("; verified: nothing missed") });
  });

  it("is refused for a folder, before any request", async () => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    const args = [...all, "--out", "data", "--format", "csv", "--limit", "5"];
    expect(await run(args, { env, cwd })).toMatchObject({
      code: 2,
      err: expect.stringContaining("--limit goes with files"),
    });
    expect(await readdir(cwd)).toEqual([]);
    expect(sandbox.counts.total).toBe(0);
  });
});

describe("--csv-bom", () => {
  it("begins CSV with a byte order mark, of an empty export too, and nothing else", async () => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    const outs = ["--out", "s.csv", "--out", "t.csv.gz"];
    expect((await run([...all, ...outs, "--csv-bom"], { env, cwd })).code).toBe(0);
    expect((await run([...all, "--out", "plain.csv.gz", "--out", "s.ndjson"], { env, cwd })).code).toBe(0);
    const marked = await readFile(join(cwd, "s.csv"));
    expect([...marked.subarray(0, 3)]).toEqual([0xef, 0xbb, 0xbf]);
    const rows = (csv: Buffer) => csv.toString().split("\r\n").sort();
    expect(rows(marked.subarray(3))).toEqual(rows(gunzipSync(await readFile(join(cwd, "plain.csv.gz")))));
    expect(keysIn(await readFile(join(cwd, "s.ndjson"), "utf8"))).toEqual(keysOf(sandbox));
    const none = await tenant({ users: 1, sessionsPerUser: 0 });
    expect((await run([...all, "--out", "none.csv", "--csv-bom"], { env: none.env, cwd })).code).toBe(0);
    expect(await readFile(join(cwd, "none.csv"), "utf8")).toMatch(/^\ufeffuser_id,[^\r]*\r\n$/);
  });

  it.each(oneIn(2, [
    [["--out", "s.parquet"], "--csv-bom goes with CSV, and no output is: leave it out"],
    [["--out", "data", "--format", "csv"], "--csv-bom goes with files: programs read the parts of a folder"],
  ]))("is refused with %j", async (outs, message) => {
    const { env } = await tenant();
    const { code, err } = await run([...all, ...outs, "--csv-bom"], { env, cwd: await newFolder() });
    expect({ code, err }).toEqual({ code: 2, err: `Error: ${message}\n` });
  });
});

describe("--parquet-version and --row-group-rows", () => {
  const pagesOf = async (path: string) => {
    const encodings = await sql(`SELECT DISTINCT encodings FROM parquet_metadata('${path}')`);
    const [groups] = await sql(
      `SELECT max(row_group_num_rows)::INT AS rows FROM parquet_metadata('${path}')`,
    );
    return {
      rows: groups!["rows"],
      hasDeltas: encodings.some((row) => /DELTA/.test(String(row["encodings"]))),
    };
  };

  it("write what every reader knows unless told otherwise, the same rows either way", async () => {
    const { env } = await tenant({ users: 20, sessionsPerUser: 30 });
    const cwd = await newFolder();
    expect((await run([...all, "--out", "one.parquet"], { env, cwd })).code).toBe(0);
    const more = ["--parquet-version", "2", "--row-group-rows", "100"];
    expect((await run([...all, "--out", "two.parquet", "--out", "s.csv", ...more], { env, cwd })).code).toBe(
      0,
    );
    const [one, two] = [join(cwd, "one.parquet"), join(cwd, "two.parquet")];
    expect(await pagesOf(one)).toEqual({ rows: 600, hasDeltas: false });
    expect(await pagesOf(two)).toEqual({ rows: 100, hasDeltas: true });
    const rows = (path: string) => sql(`FROM '${path}' ORDER BY user_id, session_id`);
    expect(await rows(two)).toEqual(await rows(one));
  });

  it("hold for a folder, each run by itself", async () => {
    const { sandbox, env } = await tenant({ users: 20, sessionsPerUser: 30 });
    const cwd = await newFolder();
    const folder = [...all, "--out", "data", "--format", "parquet", "--resume", "--since-last"];
    expect((await run([...folder, "--parquet-version", "2"], { env, cwd })).code).toBe(0);
    const [userId = ""] = sandbox.userIds();
    sandbox.add(userId);
    expect((await run([...folder, "--row-group-rows", "7"], { env, cwd })).code).toBe(0);
    const part = (number: number) => join(cwd, "data", "parquet", `part-0000${number}.parquet`);
    expect(await pagesOf(part(0))).toEqual({ rows: 600, hasDeltas: true });
    expect(await pagesOf(part(1))).toEqual({ rows: 1, hasDeltas: false });
    expect(await problemsOf(join(cwd, "data"))).toEqual([]);
  });

  it.each(oneIn(3, [
    [["--out", "s.csv", "--parquet-version", "2"], "--parquet-version goes with Parquet, and no output is"],
    [["--out", "s.ndjson", "--row-group-rows", "9"], "--row-group-rows goes with Parquet, and no output is"],
    [["--out", "d", "--format", "csv", "--row-group-rows", "9"], "--row-group-rows goes with Parquet"],
    [["--out", "s.parquet", "--parquet-version", "3"], '--parquet-version must be 1 or 2: it is "3"'],
    [
      ["--out", "s.parquet", "--row-group-rows", "0"],
      "--row-group-rows must be a whole number from 1 to 1048576",
    ],
  ]))("are refused with %j", async (outs, message) => {
    const { sandbox, env } = await tenant();
    const { code, err } = await run([...all, ...outs], { env, cwd: await newFolder() });
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message) });
    expect(sandbox.counts.total).toBe(0);
  });
});

describe("--columns", () => {
  const names = ["last_updated", "_rescued_data", "user_id", "client_ids", "session_id", "latitude"];
  const chosen = [...all, "--columns", names.join(",")];

  it("writes these alone, in their order, to CSV and Parquet, each value as it would be", async () => {
    const { env } = await tenant({ users: 30, sessionsPerUser: 30, unknownFields: true });
    const cwd = await newFolder();
    const outs = (name: string) => ["--out", `${name}.csv`, "--out", `${name}.parquet`];
    expect((await run([...chosen, ...outs("some")], { env, cwd })).code).toBe(0);
    expect((await run([...all, ...outs("all")], { env, cwd })).code).toBe(0);
    const tableOf = (name: string, kind: string) => {
      const path = join(cwd, `${name}.${kind}`);
      return kind === "csv" ? `read_csv('${path}', header = true, all_varchar = true)` : `'${path}'`;
    };
    const rowsOf = (table: string) =>
      sql(`SELECT ${names.join(", ")} FROM ${table} ORDER BY user_id, session_id`);
    for (const kind of ["csv", "parquet"]) {
      const columns = await sql(`DESCRIBE FROM ${tableOf("some", kind)}`);
      expect(columns.map(({ column_name }) => column_name)).toEqual(names);
      const some = await rowsOf(tableOf("some", kind));
      expect(some.length).toBeGreaterThan(100);
      expect(some).toEqual(await rowsOf(tableOf("all", kind)));
    }
    const [header] = (await readFile(join(cwd, "some.csv"), "utf8")).split("\r\n");
    expect(header).toBe(names.join(","));
  });

  it("writes its header where there is no session, behind a byte order mark if wanted", async () => {
    const { env } = await tenant({ users: 1, sessionsPerUser: 0 });
    const cwd = await newFolder();
    expect((await run([...chosen, "--out", "s.csv", "--csv-bom"], { env, cwd })).code).toBe(0);
    expect(await readFile(join(cwd, "s.csv"), "utf8")).toBe(`\ufeff${names.join(",")}\r\n`);
  });

  it.each(oneIn(3, [
    [
      ["--columns", "user_id,sesion_id", "--out", "s.csv"],
      'there is no column "sesion_id" (did you mean session_id?)',
    ],
    [["--columns", "user_id,user_id", "--out", "s.csv"], "user_id is there twice"],
    [["--columns", ",", "--out", "s.csv"], "it names none"],
    [["--columns", "user_id", "--out", "s.csv", "--out", "s.ndjson"], "--columns goes with CSV and Parquet"],
    [["--columns", "user_id", "--out", "data", "--format", "csv"], "--columns goes with files"],
  ]))("is refused as %j, before any request", async (args, message) => {
    const { sandbox, env } = await tenant();
    const { code, err } = await run([...all, ...args], { env, cwd: await newFolder() });
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message) });
    expect(sandbox.counts.total).toBe(0);
  });
});

describe("users", () => {
  it("lists all of them with their times, and with --ids what --users-file takes", async () => {
    const { sandbox, env } = await tenant({ users: 2300, sessionsPerUser: 1 });
    const listed = await run(["users", "--quiet", "--rate", "5000/s"], { env });
    expect(listed).toMatchObject({ code: 0, err: "" });
    const users = listed.out.trimEnd().split("\n").map((line) => JSON.parse(line));
    const fields = ["user_id", "creation_time", "last_updated", "last_activity"];
    for (const user of users) expect(Object.keys(user)).toEqual(fields);
    const ids = [...sandbox.userIds()].sort();
    expect(users.map(({ user_id }) => user_id).sort()).toEqual(ids);
    const cwd = await newFolder();
    const script =
      `"$@" users --ids --rate 5000/s > ids.txt && "$@" check --rate 5000/s && head -5 ids.txt > five.txt &&
      "$@" export --users-file five.txt --out s.csv --rate 5000/s`;
    expect((await shell(script, { env, cwd }).done).code).toBe(0);
    expect((await readFile(join(cwd, "ids.txt"), "utf8")).trimEnd().split("\n").sort()).toEqual(ids);
  });

  it("prints nothing else of a user, and no control character", async () => {
    const { sandbox } = await tenant();
    const users = [{ user_id: "a\u001b[2J", creation_time: 1, email: "a@example.org", name: "Ada" }];
    const { env } = await intercepted(
      sandbox,
      (url) => url.startsWith("/api/users") ? Response.json(users) : undefined,
    );
    const { out, code } = await run(["users", "--quiet"], { env });
    expect({ out, code }).toEqual({ out: '{"user_id":"a\\u001b[2J","creation_time":1}\n', code: 0 });
    expect((await run(["users", "--ids", "--quiet"], { env })).out).toBe("a\\u001b[2J\n");
  });

  it("ends quietly when its reader has gone, and fails as an export does", async () => {
    const { env } = await tenant({ users: 100_000 });
    const script = `"$@" users --ids --rate 50/s --quiet | head -1; exit "\${PIPESTATUS[0]}"`;
    expect(await shell(script, { env }).done).toMatchObject({ code: 141, err: "" });
    const refused = await run(["users"], { env: { ...env, MONOCLOUD_API_KEY: "wrong" } });
    expect(refused.code).toBe(3);
  });
});
