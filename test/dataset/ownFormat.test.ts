/** A format of a user's own, registered from outside, in a dataset. */
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import * as Replay from "../../src/dataset/quarantine/Replay.ts";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import * as DecodedRow from "../../src/format/DecodedRow.ts";
import * as Format from "../../src/format/Format.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as Lines from "../../src/format/Lines.ts";
import { make } from "../../src/sandbox/mod.ts";
import * as Batch from "../../src/session/Batch.ts";
import { newFolder } from "../folders.ts";
import {
  changeManifest,
  changeText,
  choices,
  exportInto,
  failureOf,
  manifestOf,
  mend,
  type Options,
} from "./written.ts";

const utf8 = new TextEncoder();

/** A line for each session: the user's id, a tab, and the session in JSON. */
const tabs: Format.Format = {
  name: "tabs",
  extension: "tab",
  contentType: "text/plain",
  gzip: true,
  columns: Format.allColumns,
  make: () =>
    Format.encoder("tabs", {
      encode: (batch) =>
        utf8.encode(
          Batch.sessions(batch).map((session) =>
            `${encodeURIComponent(batch.userId)}\t${JSON.stringify(session)}\n`
          ).join(""),
        ),
      finish: () => new Uint8Array(0),
    }),
  decode: async function* (file) {
    for await (const lines of Lines.of(file.chunks())) {
      yield lines.map((line) => {
        const [user = "", json = ""] = line.split("\t");
        try {
          return DecodedRow.of(decodeURIComponent(user), JSON.parse(json));
        } catch {
          return { flaw: "is no session" };
        }
      });
    }
  },
};
Formats.register(tabs);

/** Lines for a reader that takes no capitals: text is in small letters, however it was. */
const small: Format.Text = {
  spellings: (_, text) => [text.toLowerCase()],
  isCertain: (written) => !/[a-z]/.test(written),
};
Formats.register({
  ...tabs,
  name: "small",
  extension: "sml",
  make: () => {
    const its = tabs.make();
    const lower = (bytes: Uint8Array) =>
      utf8.encode(
        new TextDecoder().decode(bytes).replace(/(?<=":)"[^"]*"/g, (text) => text.toLowerCase())
          .replace(/^[^\t]*/gm, (user) => user.toLowerCase()),
      );
    return { encode: (batch) => lower(its.encode(batch)), finish: its.finish };
  },
  decode: async function* (file, written) {
    for await (const rows of tabs.decode(file, written)) {
      yield rows.map((row) => "flaw" in row ? row : { ...row, text: written.text });
    }
  },
  textOf: () => small,
});

const verify = (root: string) => Effect.runPromise(Verify.run(root));

it.each([["tabs"], ["tabs.gz", "parquet", "csv"]])(
  "runs, resumes, adds what has changed, verifies and replays: %s %s %s",
  async (...names) => {
    const root = await newFolder();
    const sandbox = make({ users: 4, sessionsPerUser: 60 });
    const [first = "", second = ""] = sandbox.userIds();
    const options: Options = {
      formats: choices(...names.filter((name) => name !== undefined)),
      partRows: 50,
    };
    let batches = 0;
    const breakOff: Options["change"] = (batch) => {
      if (++batches === 4) throw new Error("enough");
      return batch;
    };
    await exportInto(sandbox, root, { ...options, change: breakOff }).catch(() => undefined);
    // Rows that a later version takes for sessions.
    const aside: Options["change"] = (batch) => {
      const [session] = Batch.sessions(batch);
      if (session === undefined || batch.userId !== first) return batch;
      const quarantined: Batch.QuarantinedRow = {
        userId: batch.userId,
        page: 1,
        size: 100,
        index: 0,
        paths: [],
        message: "",
        source: JSON.stringify(session),
      };
      return {
        ...Batch.filter(batch, ({ session_id }) => session_id !== session.session_id),
        quarantined: [quarantined],
      };
    };
    const whole = await exportInto(sandbox, root, { ...options, mode: "resume", change: aside });
    expect(whole.sessions + whole.quarantined).toBe(240);
    expect(await verify(root)).toMatchObject({ problems: [], sessions: whole.sessions });

    const replayed = await Effect.runPromise(Replay.run(root));
    expect(replayed).toMatchObject({ rows: whole.quarantined, sessions: whole.quarantined, quarantined: 0 });

    const [gone] = sandbox.sessions(second);
    sandbox.remove(second, gone!.session_id);
    sandbox.add(second);
    const more = await exportInto(sandbox, root, { ...options, changes: "since-last", prune: true });
    expect(more).toMatchObject({ sessions: 1, tombstones: { gone: 1 }, verified: true });
    expect(await verify(root)).toMatchObject({ problems: [], sessions: 241 });
    const { parts } = await manifestOf(root);
    expect(parts.filter(({ format }: { readonly format: string }) => format === "tabs").length)
      .toBeGreaterThan(4);
  },
);

it.each([["small"], ["small", "csv", "tabs"]])(
  "alters text, and what it means is known: %s %s %s",
  async (...names) => {
    const root = await newFolder();
    const sandbox = make({ users: 3, sessionsPerUser: 20 });
    const [userId = ""] = sandbox.userIds();
    const options: Options = {
      formats: choices(...names.filter((name) => name !== undefined)),
      changes: "since-last",
      prune: true,
    };
    await exportInto(sandbox, root, options);
    sandbox.remove(userId, [...sandbox.sessions(userId)][3]!.session_id);
    sandbox.add(userId);
    expect(await exportInto(sandbox, root, options)).toMatchObject({ sessions: 1, tombstones: { gone: 1 } });
    expect(await verify(root)).toMatchObject({ problems: [], sessions: 61 });
    if (names.length === 1) return;
    await changeText(root, "small/part-00000.sml", (text) => text.replace("mozilla", "mosaic"));
    await mend(root, "small/part-00000.sml");
    expect((await verify(root)).problems.map(({ problem }) => problem).join()).toContain("user_agent is");
  },
);

it("tells what is wrong with a file of it", async () => {
  const root = await newFolder();
  await exportInto(make({ users: 1, sessionsPerUser: 3 }), root, { formats: choices("tabs", "ndjson") });
  await changeText(root, "tabs/part-00000.tab", (text) => text.replace("\t{", "\t["));
  await mend(root, "tabs/part-00000.tab");
  expect((await verify(root)).problems).toMatchObject([{
    path: "tabs/part-00000.tab",
    problem: "row 1 is no session",
  }]);
  await appendFile(join(root, "tabs", "part-00001.tab"), "");
  expect((await verify(root)).problems).toHaveLength(2);
});

it("is asked for by its name where a program does not know it", async () => {
  const root = await newFolder();
  const sandbox = make({ users: 1, sessionsPerUser: 3 });
  await exportInto(sandbox, root, { formats: choices("ndjson") });
  await changeManifest(root, ({ parts }) => parts[0].format = "mine");
  const said = `"mine" is the name of no format: register it before (Formats.register)`;
  expect((await Effect.runPromise(Effect.flip(Verify.run(root)))).message).toContain(said);
  expect((await failureOf(sandbox, root, { changes: "since-last" })).message).toContain(said);
});
