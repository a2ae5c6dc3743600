/** Parts that a run reads to make something else from: what is not as it was written is no ground to go on. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { make } from "../../../src/sandbox/mod.ts";
import { filesIn } from "../../cli/command.ts";
import { newFolder } from "../../folders.ts";
import { changeText, choices, exportInto, failureOf } from "../written.ts";

const formats = choices("ndjson");

it.each([
  { what: "a cursor that was changed", change: (text: string) => text.replace(/"at":1/, '"at":2') },
  { what: "a line that is missing", change: (text: string) => text.slice(text.indexOf("\n") + 1) },
  { what: "half of it", change: (text: string) => text.slice(0, text.length >> 1) },
])("$what in a part of cursors/ ends the next run, which names the file", async ({ change }) => {
  const root = await newFolder();
  const sandbox = make({ users: 5, sessionsPerUser: 4 });
  await exportInto(sandbox, root, { formats, changes: "since-last" });
  await changeText(root, "cursors/part-00000.ndjson", change);
  const error = await failureOf(sandbox, root, { formats, changes: "since-last" });
  const path = join(root, "cursors/part-00000.ndjson");
  expect(error).toMatchObject({ _tag: "DatasetError", reason: "Corrupt", path });
  expect(error.message).toBe(
    `Cannot tell what has changed since the last run as ${path} has been changed since it was written: ` +
      "verify the dataset, and restore the file from a backup",
  );
});

it.each(["ndjson", "csv", "parquet"])(
  "a session's id that was changed in a part of %s is not taken for one that was removed",
  async (format) => {
    const root = await newFolder();
    const sandbox = make({ users: 5, sessionsPerUser: 4 });
    await exportInto(sandbox, root, { formats: choices(format), changes: "since-last" });
    const path = join(root, `${format}/part-00000.${format}`);
    const [user = ""] = sandbox.userIds();
    const [session] = sandbox.sessions(user);
    const bytes = await readFile(path, "latin1");
    const id = session!.session_id;
    await writeFile(path, bytes.replaceAll(id, `${id.slice(0, -1)}${id.endsWith("0") ? 1 : 0}`), "latin1");
    const error = await failureOf(sandbox, root, {
      formats: choices(format),
      changes: "since-last",
      prune: true,
    });
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Corrupt", path });
    expect(Object.keys(await filesIn(root)).filter((name) => name.startsWith("tombstones/"))).toEqual([]);
  },
);
