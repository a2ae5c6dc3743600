import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type * as Batch from "../../../src/session/Batch.ts";
import type * as Manifest from "../../../src/dataset/Manifest.ts";
import * as Lease from "../../../src/dataset/Lease.ts";
import * as Replay from "../../../src/dataset/quarantine/Replay.ts";
import * as Verify from "../../../src/dataset/verify/Verify.ts";
import { make, type Sandbox } from "../../../src/sandbox/mod.ts";
import * as Session from "../../../src/session/Session.ts";
import { version } from "../../../src/version.ts";
import { begin, filesIn, keysIn, keysOf, until } from "../../cli/command.ts";
import { example, served } from "../../contract/sessions.ts";
import { csvTable, parquetTable, sql } from "../../duckdb.ts";
import { newFolder } from "../../folders.ts";
import { choices, exportInto, manifestOf, mend, problemsOf } from "../written.ts";
import { isLong, some } from "../../size.ts";

const replay = (root: string) => Effect.runPromise(Replay.run(root));

interface Line extends Record<string, unknown> {
  readonly user_id: string;
  readonly row: string;
}

const asideIn = async (root: string): Promise<ReadonlyArray<Line>> => {
  const { parts } = await manifestOf(root);
  const paths = parts.filter(({ format }: Manifest.Part) => format === "quarantine")
    .map(({ path }: Manifest.Part) => path);
  const texts = await Promise.all(paths.map((path: string) => readFile(join(root, path), "utf8")));
  return texts.join("").split("\n").filter((line) => line).map((line) => JSON.parse(line));
};

/** Changes what was quarantined, line by line, as if an older version had found it wrong. */
const changeQuarantine = async (root: string, change: (line: Line, index: number) => Line) => {
  const { parts } = await manifestOf(root);
  let index = 0;
  for (const { path, format } of parts) {
    if (format !== "quarantine") continue;
    const lines = (await readFile(join(root, path), "utf8")).trimEnd().split("\n");
    const changed = lines.map((line) => `${JSON.stringify(change(JSON.parse(line), index++))}\n`);
    await writeFile(join(root, path), changed.join(""));
    await mend(root, path);
  }
};

const small = (): Sandbox => make({ users: 6, sessionsPerUser: 40, seed: 3, malformed: 0.05 });

const sessionText = (id: string) =>
  `{ "new" : 12345678901234567890, ${JSON.stringify(example({ session_id: id })).slice(1)}`;

/** Every second row that was quarantined is a session by now. */
const exported = async (options?: Parameters<typeof exportInto>[2]) => {
  const root = await newFolder();
  const report = await exportInto(small(), root, options);
  await changeQuarantine(
    root,
    (line, index) => index % 2 === 1 ? line : { ...line, row: sessionText(`new-${index}`) },
  );
  return { root, report };
};

const keysInEach = async (root: string): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const { parts } = await manifestOf(root);
  const ndjson = parts.filter(({ format }: Manifest.Part) => format === "ndjson");
  const texts = await Promise.all(
    ndjson.map(({ path }: Manifest.Part) => readFile(join(root, path), "utf8")),
  );
  const key = "SELECT user_id || ' ' || session_id AS key FROM";
  const keys = async (table: string) => (await sql(`${key} ${table}`)).map(({ key }) => String(key)).sort();
  return [
    keysIn(texts.join("")),
    await keys(csvTable(`${root}/csv/*.csv`)),
    await keys(parquetTable(`${root}/parquet/*.parquet`)),
  ];
};

describe("replay", () => {
  it("adds what passes as a part of every format, and keeps the rest", async () => {
    const { root, report } = await exported();
    const before = await asideIn(root);
    const expected = before.filter((_, index) => index % 2 === 0).map(({ user_id, row }) =>
      `${user_id} ${JSON.parse(row).session_id}`
    );
    const replayed = await replay(root);
    const staying = report.quarantined - expected.length;
    expect(replayed).toMatchObject({
      rows: report.quarantined,
      sessions: expected.length,
      known: 0,
      quarantined: staying,
      redacted: 0,
    });
    const { runs, parts, superseded } = await manifestOf(root);
    expect(runs[1]).toMatchObject({
      run: 2,
      kind: "replay",
      sessions: expected.length,
      quarantined: staying,
      options: runs[0].options,
      verified: true,
    });
    expect(replayed.files.map(({ path }) => path)).toEqual([
      "csv/part-00002.csv",
      "ndjson/part-00002.ndjson",
      "parquet/part-00002.parquet",
      "quarantine/part-00002.ndjson",
    ]);
    expect(parts.filter(({ run }: Manifest.Part) => run === 2)).toEqual(replayed.files);
    expect(superseded.length).toBeGreaterThan(0);
    for (const { path } of superseded) expect(Object.keys(await filesIn(root))).not.toContain(path);
    for (const keys of await keysInEach(root)) {
      expect(keys).toEqual(expect.arrayContaining(expected));
      expect(keys).toHaveLength(report.sessions + expected.length);
    }
    const text = await readFile(join(root, "ndjson/part-00002.ndjson"), "utf8");
    expect(text).toContain('"new" : 12345678901234567890, "session_id":"new-0"');
    const after = await asideIn(root);
    expect(after.map(({ row }) => row).toSorted()).toEqual(
      before.filter((_, index) => index % 2 === 1).map(({ row }) => row).toSorted(),
    );
    for (const { row, paths, message, ...line } of after) {
      const decoded = Session.decode(JSON.parse(row));
      if (Either.isRight(decoded)) throw new Error("it passes");
      expect({ paths, message }).toEqual({
        paths: decoded.left.paths,
        message: decoded.left.message,
      });
      expect(line).toMatchObject({ version });
    }
    expect(await problemsOf(root)).toEqual([]);
    expect(Object.keys(await filesIn(root)).filter((path) => !path.includes("/"))).toEqual(["manifest.json"]);
  });

  it("finds the same rows wrong as the export did, and changes nothing then", async () => {
    const root = await newFolder();
    const { quarantined } = await exportInto(small(), root);
    const before = await filesIn(root);
    expect(await replay(root)).toEqual({
      rows: quarantined,
      sessions: 0,
      known: 0,
      quarantined,
      redacted: 0,
      files: [],
    });
    expect(await filesIn(root)).toEqual(before);
  });

  it("has nothing to do where no row was quarantined, or none is any more", async () => {
    const root = await newFolder();
    const nothing = { rows: 0, sessions: 0, known: 0, quarantined: 0, redacted: 0, files: [] };
    await exportInto(make({ users: 3 }), root);
    expect(await replay(root)).toEqual(nothing);
    const { root: other, report } = await exported();
    await changeQuarantine(other, (line, index) => ({ ...line, row: sessionText(`new-${index}`) }));
    expect(await replay(other)).toMatchObject({ sessions: report.quarantined, quarantined: 0 });
    expect(await asideIn(other)).toEqual([]);
    expect(await replay(other)).toEqual(nothing);
    expect(await problemsOf(other)).toEqual([]);
  });

  it.each([["ndjson"], ["csv"], ["parquet"], ["csv.gz", "ndjson.gz"]])(
    "does not add what the dataset has: %s %s",
    async (...names) => {
      const root = await newFolder();
      const sandbox = small();
      const { quarantined } = await exportInto(sandbox, root, {
        formats: choices(...names.filter((name) => name !== undefined)),
        options: { keepFormulas: false },
      });
      const [user = ""] = sandbox.userIds();
      // One that the export has, in another version each time; the others are one session that it has not, in many.
      const wrong = new Set((await asideIn(root)).map(({ row }) => row.match(/"session_id":"(\w+)"/)?.[1]));
      const known = [...sandbox.sessions(user)].find(({ session_id }) => !wrong.has(session_id))!;
      const text = (index: number): string =>
        JSON.stringify(
          index === 0
            ? { ...example(), ...known, last_updated: known.last_updated - 1 }
            : example({ session_id: "=new", last_updated: 1640983490 + (index % 5) }),
        );
      await changeQuarantine(root, (line, index) => ({ ...line, user_id: user, row: text(index) }));
      expect(quarantined).toBeGreaterThan(5);
      expect(await replay(root)).toMatchObject({ sessions: 1, known: quarantined - 1, quarantined: 0 });
      expect(await problemsOf(root)).toEqual([]);
      expect((await manifestOf(root)).runs[1]).toMatchObject({ kind: "replay", sessions: 1, users: 1 });
    },
  );

  it("adds a later version of what the dataset has", async () => {
    const root = await newFolder();
    const sandbox = small();
    await exportInto(sandbox, root);
    const first = JSON.parse(
      (await readFile(join(root, "ndjson/part-00000.ndjson"), "utf8")).split("\n")[0]!,
    );
    const { user_id, ...session } = first;
    const row = JSON.stringify({ ...session, last_updated: session.last_updated + 1 });
    await changeQuarantine(root, (line, index) => index === 0 ? { ...line, user_id, row } : line);
    expect(await replay(root)).toMatchObject({ sessions: 1, known: 0 });
    expect(await problemsOf(root)).toEqual([]);
    await changeQuarantine(root, (line, index) => index === 0 ? { ...line, user_id, row } : line);
    expect(await replay(root)).toMatchObject({ sessions: 0, known: 1 });
    expect(await problemsOf(root)).toEqual([]);
  });

  it("keeps rows that were redacted, as they are", async () => {
    const root = await newFolder();
    const redact = (batch: Batch.Batch): Batch.Batch => ({
      ...batch,
      quarantined: batch.quarantined.map((row) => ({ ...row, source: "{}", redacted: true })),
    });
    const { quarantined } = await exportInto(small(), root, { change: redact });
    expect(await replay(root)).toMatchObject({ sessions: 0, quarantined, redacted: quarantined });
    // Even if what is left would pass.
    await changeQuarantine(root, (line, index) => ({ ...line, row: sessionText(`new-${index}`) }));
    expect(await replay(root)).toMatchObject({ sessions: 0, quarantined, redacted: quarantined });
    await changeQuarantine(root, (line, index) => index > 0 ? line : { ...line, redacted: undefined });
    const before = (await asideIn(root)).slice(1);
    expect(await replay(root)).toMatchObject({
      sessions: 1,
      quarantined: quarantined - 1,
      redacted: quarantined - 1,
    });
    expect(new Set(await asideIn(root))).toEqual(new Set(before));
  });

  it("writes CSV as the export did", async () => {
    for (const keepFormulas of [true, false]) {
      const { root } = await exported({ options: { keepFormulas }, formats: choices("csv") });
      await changeQuarantine(
        root,
        (line) => ({ ...line, row: JSON.stringify(example({ session_id: "=1" })) }),
      );
      const { files } = await replay(root);
      const text = await readFile(join(root, files[0]!.path), "utf8");
      expect(text.includes(",'=1,")).toBe(!keepFormulas);
    }
  });

  it("brings any session into every format as it was served", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(served, { minLength: 1, maxLength: 5 }), async (rows) => {
        const root = await newFolder();
        await exportInto(make({ users: 1, sessionsPerUser: 20, seed: 9, malformed: 0.5 }), root);
        await changeQuarantine(root, (line, index) => {
          const { source } = rows[index % rows.length]!;
          return { ...line, row: source.replace(/"session_id"\s*:\s*"/, (found) => `${found}${index}`) };
        });
        const { rows: aside, sessions, quarantined, known } = await replay(root);
        expect([sessions + known, quarantined]).toEqual([aside, 0]);
        expect(await problemsOf(root)).toEqual([]);
      }),
      { numRuns: some(200) },
    );
  });

  it("refuses a folder without a dataset, with an unfinished run, or with one that is being written", async () => {
    const failure = (root: string) => Effect.runPromise(Effect.flip(Replay.run(root)));
    expect(await failure(join(await newFolder(), "none"))).toMatchObject({ reason: "Absent" });

    const root = await newFolder();
    const sandbox = small();
    let answers = 0;
    const failing: Sandbox = {
      ...sandbox,
      fetch: (request) =>
        answers++ < 4 ? sandbox.fetch(request) : Promise.resolve(new Response("", { status: 401 })),
    };
    await exportInto(failing, root).catch(() => undefined);
    const before = await filesIn(root);
    const error = await failure(root);
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Occupied", path: root });
    expect(error.message).toBe(
      `Cannot replay in ${root}: it holds an export that did not finish. Go on with it first (export --resume)`,
    );
    expect(await filesIn(root)).toEqual(before);

    const { root: other } = await exported();
    const whileHeld = Effect.zipRight(Lease.acquire(other), Effect.flip(Replay.run(other)));
    expect(await Effect.runPromise(Effect.scoped(whileHeld))).toMatchObject({ reason: "Locked" });
  });

  it("refuses parts that are not as they were written, and changes nothing", async () => {
    const { root } = await exported();
    const { parts } = await manifestOf(root);
    for (const format of ["quarantine", "ndjson"]) {
      const { path } = parts.find((part: Manifest.Part) => part.format === format);
      const text = await readFile(join(root, path), "utf8");
      await writeFile(join(root, path), format === "ndjson" ? `{${text}` : text.slice(1));
      const before = await filesIn(root);
      const error = await Effect.runPromise(Effect.flip(Replay.run(root)));
      expect(error).toMatchObject({ _tag: "DatasetError", reason: "Corrupt", path: join(root, path) });
      expect(error.message).toContain("verify the dataset, and restore the file from a backup");
      expect(await filesIn(root)).toEqual(before);
      await writeFile(join(root, path), text);
    }
  });

  it("can be followed by an export that tries failed users again", async () => {
    const root = await newFolder();
    const sandbox = small();
    const [first] = sandbox.userIds();
    const failing: Sandbox = {
      ...sandbox,
      fetch: (request) =>
        request.url.includes(`/${first}/`)
          ? Promise.resolve(new Response("{}", { status: 422 }))
          : sandbox.fetch(request),
    };
    await exportInto(failing, root);
    await changeQuarantine(root, (line, index) => index > 0 ? line : { ...line, row: sessionText("new") });
    expect(await replay(root)).toMatchObject({ sessions: 1 });
    expect(await exportInto(sandbox, root, { mode: "resume" })).toMatchObject({
      run: 3,
      kind: "retry",
      users: 1,
    });
    expect(await problemsOf(root)).toEqual([]);
  });
});

describe("a replay that is killed", () => {
  it("at any moment loses and doubles nothing, and the next one ends what it began", async () => {
    const original = await newFolder();
    const { quarantined, sessions } = await exportInto(
      make({ users: 60, sessionsPerUser: 50, seed: 3, malformed: 0.3 }),
      original,
    );
    await changeQuarantine(original, (line, index) => ({ ...line, row: sessionText(`new-${index}`) }));
    const { parts } = await manifestOf(original);
    const part = `part-${String(parts.at(-1).part + 1).padStart(5, "0")}`;
    const stages = ["lock.json", "journal.ndjson", `ndjson/${part}`, `parquet/${part}`, "manifest.json."];
    const seen = new Set<string>();
    for (let round = 0; round < (isLong ? 48 : 1); round++) {
      const root = join(await newFolder(), "data");
      await cp(original, root, { recursive: true });
      const { kill, done } = begin(["replay", root, "--quiet"]);
      // At these a file is about to be written, renamed or removed.
      const stage = stages[round % stages.length]!;
      let ended = false;
      void done.then(() => (ended = true));
      await until(
        async () =>
          ended || Object.keys(await filesIn(root).catch(() => ({}))).some((path) => path.startsWith(stage)),
        `there is ${stage}`,
      );
      await new Promise((resume) => setTimeout(resume, round < 5 ? 0 : (round * 37) % 60));
      kill("SIGKILL");
      await done;
      const left = await Effect.runPromise(Verify.run(root));
      expect(left.problems).toEqual([]);
      seen.add(left.sessions === sessions ? "before" : "after");
      expect([sessions, sessions + quarantined]).toContain(left.sessions);
      const report = await replay(root);
      expect([quarantined, 0]).toContain(report.sessions);
      expect(await Effect.runPromise(Verify.run(root))).toMatchObject({
        sessions: sessions + quarantined,
        problems: [],
        unfinished: false,
      });
      const paths = Object.keys(await filesIn(root));
      expect(
        paths.filter((path) =>
          !/^(manifest\.json|(ndjson|csv|parquet|cursors)\/part-\d{5}\.\w+)$/.test(path)
        ),
      )
        .toEqual([]);
    }
    expect(seen.has("before")).toBe(true);
  }, 180_000);

  it("after its parts were renamed, and before and after its manifest was, is swept by an export as well", async () => {
    const root = await newFolder();
    const sandbox = small();
    await exportInto(sandbox, root);
    await changeQuarantine(root, (line, index) => index > 0 ? line : { ...line, row: sessionText("new") });
    const before = join(await newFolder(), "before");
    await cp(root, before, { recursive: true });
    await replay(root);

    // Before: the new parts and a journal, and the old manifest.
    const killed = join(await newFolder(), "killed");
    await cp(root, killed, { recursive: true });
    await cp(before, killed, { recursive: true });
    const { runs, tenant } = await manifestOf(root);
    const header = {
      ...{
        journal_version: 2,
        created_by: "",
        run: 2,
        kind: "replay",
        began: "",
        tenant,
        options: runs[0].options,
      },
      ...{ users: 0, user_list_unverified_reasons: [] },
      run_progress: {
        ...{
          position: 0,
          open: [],
          failed: [],
          missing: [],
          unverified: [],
          seconds: 0,
          requests: 0,
          retries: 0,
        },
        progress: {
          ...{ users: 0, missing: 0, failed: 0, sessions: 0, quarantined: 0 },
          ...{ unverified: 0, encoded_bytes: 0, listed: 0 },
        },
      },
    };
    await writeFile(join(killed, "journal.ndjson"), `${JSON.stringify(header)}\n`);
    expect(await problemsOf(killed)).toEqual([]);
    await exportInto(sandbox, killed, { mode: "resume" });
    // The number of the parts that are swept is not given again.
    const { next_part } = await manifestOf(killed);
    expect(next_part).toBe((await manifestOf(root)).next_part);
    const unlikeIn = async (root: string) => ({
      ...await filesIn(root),
      "manifest.json": { ...await manifestOf(root), next_part },
    });
    expect(await unlikeIn(killed)).toEqual(await unlikeIn(before));

    // After: the new manifest, and all that was to be removed.
    const late = join(await newFolder(), "late");
    await cp(before, late, { recursive: true });
    await cp(root, late, { recursive: true });
    await writeFile(join(late, "journal.ndjson"), `${JSON.stringify(header)}\n`);
    expect(await problemsOf(late)).toEqual([]);
    await exportInto(sandbox, late, { mode: "resume" });
    expect(await filesIn(late)).toEqual(await filesIn(root));
    await mkdir(join(late, "csv"), { recursive: true });
    for (const keys of await keysInEach(late)) {
      expect(keys.filter((key) => !keysOf(sandbox).includes(key))).toEqual([expect.stringMatching(/ new$/)]);
    }
  });
});
