import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { example } from "../contract/sessions.ts";
import { mend } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { filesIn, run, tenant } from "./command.ts";
import { oneIn } from "../size.ts";

const args = ["export", "--all-users", "--rate", "1000/s"];
const into = [...args, "--out", "data", "--format", "ndjson,parquet"];

describe("--max-quarantined", () => {
  it("ends an export to files that quarantines too many rows with 65, and leaves none", async () => {
    const { env } = await tenant({ malformed: 0.2 });
    const cwd = await newFolder();
    for (const [most, said] of [["2", "2"], ["0.5%", "0.5 %"]] as const) {
      const { code, out, err } = await run([...args, "--out", "s.csv", "--max-quarantined", most], {
        env,
        cwd,
      });
      expect([code, out]).toEqual([65, ""]);
      expect(err).toMatch(
        new RegExp(
          `^Error: \\d+ of \\d+ rows are not sessions, and at most ${said} may be\\. The first: User `,
        ),
      );
      expect(await filesIn(cwd)).toEqual({});
    }
  });

  it("keeps what has come into a folder, to go on from with a larger one", async () => {
    const { env } = await tenant({ malformed: 0.2 });
    const cwd = await newFolder();
    const { code, err } = await run([...into, "--max-quarantined", "2"], { env, cwd });
    expect(code).toBe(65);
    expect(err).toContain("What has come so far is kept in data: run the same again with --resume");
    expect((await run([...into, "--resume", "--max-quarantined", "50%"], { env, cwd })).code).toBe(4);
    expect((await run(["verify", "data"], { cwd })).code).toBe(0);
  });

  it.each(oneIn(3, ["-1", "1.5", "101%", "5 %x", "some"]))("can't be %j", async (text) => {
    const { code, err } = await run([...args, "--out", "s.csv", `--max-quarantined=${text}`]);
    expect([code, err]).toEqual([
      2,
      expect.stringContaining("--max-quarantined must be a whole number or a share such as 0.1%"),
    ]);
  });
});

describe("replay", () => {
  it("says what became of the rows, and ends with 0 once none is quarantined", async () => {
    const { env } = await tenant({ malformed: 0.2 });
    const cwd = await newFolder();
    expect((await run(into, { env, cwd })).code).toBe(4);
    const path = "quarantine/part-00000.ndjson";
    const lines = (await readFile(join(cwd, "data", path), "utf8")).trimEnd().split("\n");
    const count = lines.length;
    const same = await run(["replay", "data"], { cwd });
    expect(same).toMatchObject({ code: 4, err: "" });
    expect(same.out).toMatch(
      new RegExp(
        `^${count} rows quarantined, by the schema of version .*:\n  0 rows added\n  ${count} rows still quarantined\n$`,
      ),
    );

    const row = (index: number) => JSON.stringify(example({ session_id: `S${index}` }));
    const changed = lines.map((line, index) => JSON.stringify({ ...JSON.parse(line), row: row(index) }));
    await writeFile(join(cwd, "data", path), changed.map((line) => `${line}\n`).join(""));
    await mend(join(cwd, "data"), path);
    const replayed = await run(["replay", "data", "--json"], { cwd });
    expect(replayed).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(replayed.out)).toMatchObject({
      rows: count,
      sessions: count,
      known: 0,
      quarantined: 0,
    });
    expect(Object.keys(await filesIn(join(cwd, "data"))).sort()).toEqual([
      "cursors/part-00000.ndjson",
      "manifest.json",
      "ndjson/part-00000.ndjson",
      "ndjson/part-00001.ndjson",
      "parquet/part-00000.parquet",
      "parquet/part-00001.parquet",
    ]);
    expect((await run(["verify", "data"], { cwd })).code).toBe(0);
    const nothing = await run(["replay", "data"], { cwd });
    expect(nothing).toMatchObject({
      code: 0,
      out: "Nothing to replay: data has quarantined no row\n",
      err: "",
    });
  });

  it("of a folder that is no dataset is a wrong command line", async () => {
    const { code, out, err } = await run(["replay", "."], { cwd: await newFolder() });
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(/^Error: There is no dataset in \.: /);
  });
});
