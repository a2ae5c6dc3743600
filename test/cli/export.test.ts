import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { csvTable, parquetTable, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { filesIn, keysIn, keysOf, run, shell, tenant } from "./command.ts";
import { oneIn } from "../size.ts";

const fast = ["--rate", "1000/s"];

describe("export --out", () => {
  it("writes files whose names say their formats, and tells on standard error what they hold", async () => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    const outs = ["s.ndjson", "s.csv", "s.parquet", "z.ndjson.gz", "z.csv.gz"];
    const args = outs.flatMap((out) => ["--out", out]);
    const { code, out, err } = await run(["export", "--all-users", ...fast, ...args], { env, cwd });
    expect([code, out]).toEqual([0, ""]);
    expect((await readdir(cwd)).sort()).toEqual(outs.toSorted());
    const expected = keysOf(sandbox);
    expect(keysIn(await readFile(join(cwd, "s.ndjson"), "utf8"))).toEqual(expected);
    expect(keysIn(gunzipSync(await readFile(join(cwd, "z.ndjson.gz"))).toString())).toEqual(expected);
    expect(gunzipSync(await readFile(join(cwd, "z.csv.gz")))).toEqual(await readFile(join(cwd, "s.csv")));
    for (const table of [csvTable(join(cwd, "s.csv")), parquetTable(join(cwd, "s.parquet"))]) {
      const rows = await sql(`SELECT user_id || ' ' || session_id AS key FROM ${table}`);
      expect(rows.map(({ key }) => key).sort()).toEqual(expected);
    }
    expect(err).toMatch(/^60 sessions of 5 users in \d+s, 6 requests, 0 retries; verified: nothing missed/);
    for (const out of outs) expect(err).toContain(`\n  ${out}: 60 rows, `);
  });

  it("makes a folder with a manifest, and refuses it the next time", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const args = ["export", "--all-users", ...fast, "--out", "out", "--format", "csv,parquet"];
    expect((await run(args, { env, cwd })).code).toBe(0);
    const files = await filesIn(join(cwd, "out"));
    expect(Object.keys(files).sort()).toEqual([
      "csv/part-00000.csv",
      "cursors/part-00000.ndjson",
      "manifest.json",
      "parquet/part-00000.parquet",
    ]);
    const manifest = JSON.parse(files["manifest.json"]!);
    expect(manifest).toMatchObject({
      tenant: env.MONOCLOUD_DOMAIN,
      runs: [{ sessions: 60, verified: true }],
    });
    for (const { path, sha256 } of manifest.parts) {
      expect(createHash("sha256").update(files[path]!, "latin1").digest("hex")).toBe(sha256);
    }
    const again = await run(args, { env, cwd });
    expect(again.code).toBe(73);
    expect(again.err).toContain("Cannot export into out: it holds a finished export.");
    expect(await filesIn(join(cwd, "out"))).toEqual(files);
  });

  it.each(oneIn(3, ["ndjson", "csv", "ndjson.gz", "parquet"]))(
    "- writes nothing but %s to a pipe",
    async (format) => {
      const { env } = await tenant();
      const cwd = await newFolder();
      const path = join(cwd, `piped.${format}`);
      const script = `"$@" export --all-users --rate 1000/s --out - --format ${format} > '${path}'`;
      const { code, err } = await shell(script, { env, cwd }).done;
      expect(code).toBe(0);
      expect(err).toContain("  standard output: 60 rows");
      const table = format === "csv"
        ? csvTable(path)
        : format === "parquet"
        ? parquetTable(path)
        : `read_ndjson('${path}')`;
      expect(await sql(`SELECT count(*) AS n FROM ${table}`)).toEqual([{ n: 60n }]);
    },
  );

  it("- to a pipe is whole when it is much larger than the pipe", async () => {
    const { sandbox, env } = await tenant({ users: 20, sessionsPerUser: 400 });
    const { code, out } = await run(
      ["export", "--all-users", ...fast, "--out", "-", "--format", "ndjson"],
      { env },
    );
    expect(code).toBe(0);
    expect(keysIn(out)).toEqual(keysOf(sandbox));
  });

  it("replaces a file only when the export succeeds", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    await writeFile(join(cwd, "s.csv"), "the one before");
    const failed = await run(["export", "--user", "nobody", "--out", "s.csv"], { env, cwd });
    expect(failed.code).toBe(66);
    expect(await filesIn(cwd)).toEqual({ "s.csv": "the one before" });
    expect((await run(["export", "--all-users", ...fast, "--out", "s.csv"], { env, cwd })).code).toBe(0);
    expect((await readFile(join(cwd, "s.csv"), "utf8")).split("\r\n")).toHaveLength(62);
  });

  it("quarantines rows that are not sessions, where it is told or beside the first file", async () => {
    const { env } = await tenant({ malformed: 0.3 });
    const cwd = await newFolder();
    // One request at a time, so that the users come in the same order.
    const args = ["export", "--all-users", ...fast, "--concurrency", "1", "--out", "s.csv"];
    const beside = await run(args, { env, cwd });
    expect(beside.code).toBe(4);
    expect(beside.err).toMatch(/Warning: \d+ rows quarantined that are not sessions by the schema/);
    expect(Object.keys(await filesIn(cwd)).sort()).toEqual(["s.csv", "s.csv.quarantine.ndjson"]);
    await mkdir(join(cwd, "aside"));
    expect((await run([...args, "--quarantine", "aside/r.ndjson"], { env, cwd })).code).toBe(4);
    expect(await readFile(join(cwd, "aside/r.ndjson"), "utf8"))
      .toBe(await readFile(join(cwd, "s.csv.quarantine.ndjson"), "utf8"));
  });
});

describe("export", () => {
  it("--json prints the report and nothing else on standard output", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const cwd = await newFolder();
    const { code, out } = await run(
      ["export", "--user", userId, "--user", "nobody", "--out", "s.csv", "--json"],
      { env, cwd },
    );
    expect(code).toBe(4);
    expect(out.endsWith("}\n")).toBe(true);
    expect(JSON.parse(out)).toMatchObject({
      users: 2,
      sessions: 12,
      verified: true,
      missing: { count: 1, first: ["nobody"] },
      requests: 2,
      retries: 0,
      files: [{ name: "s.csv", format: "csv", rows: 12, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }],
    });
  });

  it("has an exit code of its own for an export that can't be verified for", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const args = ["export", "--all-users", ...fast, "--page-size", "10", "--out", "s.csv"];
    expect((await run(args, { env, cwd })).code).toBe(0);
    const { code, err } = await run([...args, "--sort", "last_updated:desc"], { env, cwd });
    expect(code).toBe(4);
    expect(err).toMatch(
      /Warning: 5 users not verified: \S+ \(rows can change their place while the list is read/,
    );
  });

  it("--quiet says nothing when all is well, and still warns", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const cwd = await newFolder();
    const quiet = ["export", "--quiet", "--out", "s.csv", "--user", userId];
    expect(await run(quiet, { env, cwd })).toMatchObject({ code: 0, out: "", err: "" });
    expect(await run([...quiet, "--user", "nobody"], { env, cwd })).toMatchObject({
      code: 4,
      out: "",
      err: "Warning: 1 user unknown to the tenant: nobody\n",
    });
  });

  it("--client-id exports the sessions of that client alone", async () => {
    const { sandbox, env } = await tenant({ sessionsPerUser: 60 });
    const [clientId = ""] = sandbox.clientIds;
    const ofClient = [...sandbox.userIds()].flatMap((userId) =>
      [...sandbox.sessions(userId)].filter(({ client_ids }) => client_ids.includes(clientId))
    );
    const { out } = await run(
      ["export", "--all-users", ...fast, "--out", "-", "--format", "ndjson", "--client-id", clientId],
      { env },
    );
    expect(ofClient.length).toBeGreaterThan(0);
    expect(ofClient.length).toBeLessThan(300);
    expect(keysIn(out)).toHaveLength(ofClient.length);
  });

  it("--sort gives that order within a user", async () => {
    const { sandbox, env } = await tenant({ sessionsPerUser: 130 });
    const [userId = ""] = sandbox.userIds();
    const sorted = async (sort: string, key: string) => {
      const args = ["export", "--user", userId, "--out", "-", "--format", "ndjson", "--sort", sort];
      const { out } = await run(args, { env });
      return out.trimEnd().split("\n").map((line) => JSON.parse(line)[key]);
    };
    const times = await sorted("initiated_at:asc", "initiated_at");
    expect(times).toHaveLength(130);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    const ids = await sorted("session_id:desc", "session_id");
    expect(ids).toEqual(ids.toSorted().reverse());
  });

  it("is the same whatever the locale and the time zone", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const args = ["export", "--user", userId, "--out", "-", "--format", "csv"];
    const plain = await run(args, { env });
    const elsewhere = { LANG: "de_DE.UTF-8", LC_ALL: "tr_TR.UTF-8", TZ: "Asia/Kathmandu" };
    expect((await run(args, { env: { ...env, ...elsewhere } })).out).toBe(plain.out);
  });
});

describe("export --redact", () => {
  const MONOCLOUD_REDACT_SECRET = "a secret of these tests, not of anything else";
  const policy = "ip=hash,user_agent=drop,location=truncate";
  const args = ["export", "--all-users", ...fast, "--redact", policy];

  it("redacts every format alike, and rows quarantined, and records the policy", async () => {
    const { sandbox, env } = await tenant({ unknownFields: true, malformed: 0.2 });
    const cwd = await newFolder();
    const finished = await run(
      [...args, "--out", "out", "--format", "ndjson,csv,parquet"],
      { env: { ...env, MONOCLOUD_REDACT_SECRET }, cwd },
    );
    expect(finished.code).toBe(4);
    const files = await filesIn(join(cwd, "out"));
    expect(JSON.parse(files["manifest.json"]!).runs[0].options.redact).toEqual({
      ip: "hash",
      user_agent: "drop",
      location: "truncate",
      session_key: "drop",
      unknown: "drop",
    });
    const aside = files["quarantine/part-00000.ndjson"]!.trimEnd().split("\n").map((line) =>
      JSON.parse(line)
    );
    for (const { message, row } of aside) {
      expect(message).toMatch(/^wrong: [a-z_.0-9, ]+; the values are redacted$/);
      expect(Object.keys(JSON.parse(row)).filter((name) => name !== "session_id")).toEqual([]);
    }
    const fields = "session_id, country, region, ip_address";
    const parquet = parquetTable(join(cwd, "out/parquet/part-00000.parquet"));
    const rows = await sql(`SELECT ${fields} FROM ${parquet} ORDER BY ALL`);
    const csv = csvTable(join(cwd, "out/csv/part-00000.csv"));
    expect(await sql(`SELECT ${fields} FROM ${csv} ORDER BY ALL`)).toEqual(rows);
    const ndjson = `read_ndjson('${join(cwd, "out/ndjson/part-00000.ndjson")}')`;
    const nested = "session_id, last_metadata.country, last_metadata.region, last_metadata.ip_address";
    expect(await sql(`SELECT ${nested} FROM ${ndjson} ORDER BY ALL`)).toEqual(rows);
    const isHidden = `user_agent IS NULL AND city IS NULL AND latitude IS NULL AND longitude IS NULL
      AND session_key IS NULL AND _rescued_data IS NULL AND coalesce(ip_address ~ '^[0-9a-f]{64}$', true)`;
    expect(await sql(`SELECT count(*) AS n FROM ${parquet} WHERE NOT (${isHidden})`)).toEqual([{ n: 0n }]);
    const all = `${Object.values(files).join("\n")}${finished.out}${finished.err}`;
    expect(all).not.toContain(MONOCLOUD_REDACT_SECRET);
    for (const userId of sandbox.userIds()) {
      for (const { session_key, last_metadata } of sandbox.sessions(userId)) {
        const { city, ip_address, user_agent } = last_metadata ?? {};
        for (const value of [session_key, city, ip_address, user_agent]) {
          if (value) expect(all).not.toContain(Buffer.from(value).toString("latin1"));
        }
      }
    }
  });

  it("says no more of a row that fails the run", async () => {
    const { env } = await tenant({ malformed: 1 });
    const finished = await run(
      ["export", "--all-users", ...fast, "--redact", "ip=drop", "--on-invalid", "fail", "--out", "s.csv"],
      { env, cwd: await newFolder() },
    );
    expect(finished.code).toBe(65);
    expect(finished.err).toMatch(/is not a session: wrong: [^;]+; the values are redacted\n$/);
  });

  it.each(oneIn(2, [
    ["no secret", {}, "Error: Cannot hash as the secret must have 32 bytes or more: it has 0. "],
    ["a short one", { MONOCLOUD_REDACT_SECRET: "Tr0ub4dor&3" }, "it has 11. "],
  ]))("refuses to hash with %s, before it makes a request or a folder", async (_, secret, message) => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    const toFolder = ["--out", "out", "--format", "csv"];
    const finished = await run([...args, ...toFolder], { env: { ...env, ...secret }, cwd });
    expect(finished.code).toBe(2);
    expect(finished.err).toContain(message);
    expect(finished.err).toContain("It is taken from MONOCLOUD_REDACT_SECRET");
    expect(finished.err).not.toContain("Tr0ub4dor");
    expect([await readdir(cwd), sandbox.counts.total]).toEqual([[], 0]);
  });

  it("needs no secret where it hashes nothing, and records no policy where there is none", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const plain = ["export", "--all-users", ...fast, "--format", "csv"];
    const redact = ["--redact", "session_key=drop"];
    expect((await run([...plain, ...redact, "--out", "redacted"], { env, cwd })).code).toBe(0);
    expect((await run([...plain, "--out", "whole"], { env, cwd })).code).toBe(0);
    const manifest = async (name: string) =>
      JSON.parse(await readFile(join(cwd, name, "manifest.json"), "utf8"));
    expect((await manifest("redacted")).runs[0].options.redact.session_key).toBe("drop");
    expect((await manifest("whole")).runs[0].options).not.toHaveProperty("redact");
  });

  it.each(oneIn(3, ["ip=trunc", "agent=drop", "", "ip=drop,ip=keep"]))(
    "refuses %j, and says what is allowed",
    async (text) => {
      const { sandbox, env } = await tenant();
      const finished = await run(["export", "--all-users", "--redact", text, "--out", "s.csv"], { env });
      expect(finished.code).toBe(2);
      expect(finished.out + finished.err).toContain("ip=keep|truncate|hash|drop");
      expect(sandbox.counts.total).toBe(0);
    },
  );

  it("refuses its secret on the command line, and says where it goes", async () => {
    const { env } = await tenant();
    const finished = await run([...args, "--out", "s.csv", "--redact-secret", MONOCLOUD_REDACT_SECRET], {
      env,
    });
    expect(finished.code).toBe(2);
    expect(finished.err).toContain("goes into MONOCLOUD_REDACT_SECRET");
    expect(finished.out + finished.err).not.toContain(MONOCLOUD_REDACT_SECRET);
  });
});

describe("export --users-file", () => {
  const exportOf = async (content: string | Uint8Array, viaStdin = false) => {
    const { sandbox, env } = await tenant({ sessionsPerUser: 1 });
    const cwd = await newFolder();
    const ids = [...sandbox.userIds()];
    const text = typeof content === "string"
      ? content.replace(/\$(\d)/g, (_, index) => ids[Number(index)]!)
      : content;
    await writeFile(join(cwd, "users.txt"), text);
    const args = ["export", ...fast, "--out", "-", "--format", "ndjson", "--quiet", "--users-file"];
    const finished = viaStdin
      ? await run([...args, "-"], { env, cwd, input: text })
      : await run([...args, "users.txt"], { env, cwd });
    const users = finished.code === 0
      ? keysIn(finished.out).map((key) => ids.indexOf(key.split(" ")[0]!)).sort()
      : [];
    return { ...finished, users, requests: sandbox.counts.total };
  };

  it.each(oneIn(3, [
    ["plain lines", "$0\n$1\n"],
    ["no line break at the end", "$0\n$1"],
    ["a byte order mark", "\uFEFF$0\n$1\n"],
    ["CRLF", "$0\r\n$1\r\n"],
    ["CR alone", "$0\r$1\r"],
    ["empty lines and spaces around", "\n  $0\t\n\n$1   \n\n"],
    ["duplicates", "$0\n$1\n$0\n$0\n"],
  ]))("takes %s", async (_, content) => {
    expect(await exportOf(content)).toMatchObject({ code: 0, users: [0, 1], err: "" });
    expect(await exportOf(content, true)).toMatchObject({ code: 0, users: [0, 1], err: "" });
  });

  it.each(oneIn(3, [
    ["a comment", "$0\n# no more\n", 'Line 2 of users.txt is not a user\'s id: "# no more".'],
    ["a CSV", "user_id,name\nx,y\n", 'Line 1 of users.txt is not a user\'s id: "user_id,name".'],
    [
      "a control character",
      "$0\r\n\r\nx\u001b[31m\r\n",
      'Line 3 of users.txt is not a user\'s id: "x\\u001b[31m".',
    ],
    ["an endless line", "x".repeat(2e6), "Line 1 of users.txt is not a user's id: \"xxx"],
    ["nothing", "", "users.txt names no users: give one id a line"],
    ["empty lines alone", "\n\r\n \n", "users.txt names no users: give one id a line"],
  ]))("refuses %s before it makes a request", async (_, content, message) => {
    const finished = await exportOf(content);
    expect(finished).toMatchObject({ code: 2, out: "", requests: 0 });
    expect(finished.err).toContain(`Error: ${message}`);
    const viaStdin = await exportOf(content, true);
    expect(viaStdin).toMatchObject({ code: 2, out: "" });
    expect(viaStdin.err.toLowerCase()).toContain(
      message.replace("users.txt", "standard input").toLowerCase(),
    );
  });

  it("refuses UTF-16, as Windows writes it", async () => {
    const content = new Uint8Array(Buffer.from("\uFEFFalice\r\nbob\r\n", "utf16le"));
    expect(await exportOf(content)).toMatchObject({
      code: 2,
      requests: 0,
      err: "Error: Cannot read the users from users.txt: it is not UTF-8 text\n",
    });
  });

  it("takes ids of any script, in however many pieces they come", async () => {
    const { env } = await tenant();
    const ids = Array.from({ length: 700 }, (_, i) => `ユーザー${"é".repeat(60 + i % 7)}-${i}`);
    const finished = await run(
      ["export", "--rate", "100000/s", "--out", "s.csv", "--users-file", "-"],
      { env, cwd: await newFolder(), input: ids.join("\r\n") },
    );
    expect(finished.code).toBe(66);
    expect(finished.err).toContain("The tenant knows none of the 700 users asked for");
  });

  it("says that a file is not there", async () => {
    const { env } = await tenant();
    expect(await run(["export", "--users-file", "absent.txt", "--out", "s.csv"], { env })).toMatchObject({
      code: 2,
      err: "Error: Cannot read the users from absent.txt: there is no such file\n",
    });
  });
});
