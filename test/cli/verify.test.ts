import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { changeText } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { run, tenant } from "./command.ts";

const exported = async () => {
  const { env } = await tenant({ malformed: 0.05 });
  const cwd = await newFolder();
  const args = [
    "export",
    "--all-users",
    "--rate",
    "1000/s",
    "--out",
    "data",
    "--format",
    "ndjson.gz,csv,parquet",
  ];
  expect((await run(args, { env, cwd })).code).toBe(4);
  return cwd;
};

describe("verify", () => {
  it("says on standard output that all is well, and ends with 0", async () => {
    const cwd = await exported();
    const { code, out, err } = await run(["verify", "data"], { cwd });
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(
      /^data: 5 parts with \d+ sessions \(\d+ rows, [\d.]+ kB\) read\nOK: every file matches the manifest\n$/,
    );
  });

  it("says what is wrong, and ends with 65", async () => {
    const cwd = await exported();
    await rm(join(cwd, "data/ndjson/part-00000.ndjson.gz"));
    await changeText(join(cwd, "data"), "csv/part-00000.csv", (text) => text.replace("Mozilla", "Nozilla"));
    const { code, out, err } = await run(["verify", "data"], { cwd });
    expect([code, err]).toEqual([65, ""]);
    const lines = out.split("\n");
    expect(lines.slice(0, 3)).toEqual([
      expect.stringMatching(/^ndjson\/part-00000\.ndjson\.gz is missing, with its \d+ rows$/),
      expect.stringMatching(/^csv\/part-00000\.csv has been changed since it was written: its sha256 is /),
      expect.stringMatching(
        /^csv\/part-00000\.csv row \d+ is not that of parquet\/part-00000\.parquet: user_agent is /,
      ),
    ]);
    expect(lines[4]).toBe("3 problems: take these files from a backup, or export anew into another folder");
  });

  it("--json prints one object", async () => {
    const cwd = await exported();
    await rm(join(cwd, "data/parquet/part-00000.parquet"));
    const { code, out, err } = await run(["verify", "data", "--json"], { cwd });
    expect([code, err]).toEqual([65, ""]);
    const { problems, ...report } = JSON.parse(out);
    expect(problems).toEqual([
      {
        path: "parquet/part-00000.parquet",
        problem: expect.stringMatching(/^is missing, with its \d+ rows$/),
      },
    ]);
    expect(report).toMatchObject({ parts: 4, unfinished: false });
  });

  it("of a folder that is no dataset is a wrong command line", async () => {
    const cwd = await newFolder();
    const { code, out, err } = await run(["verify", "."], { cwd });
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(
      /^Error: There is no dataset in \.: it holds neither manifest\.json nor journal\.ndjson\./,
    );
  });

  it("of nothing is one as well", async () => {
    const { code, out } = await run(["verify"]);
    expect([code, out]).toEqual([2, ""]);
  });
});
