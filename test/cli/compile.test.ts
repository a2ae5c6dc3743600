/** What `npm run compile` compiles, and the program that comes of it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { expect, it } from "vitest";
import { parquetTable, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { deno, keysIn, keysOf, project, run, type Running, start, tenant } from "./command.ts";

const env = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };

/** The script's own words. */
const compileWords = async (): Promise<ReadonlyArray<string>> => {
  const { scripts } = JSON.parse(await readFile(join(project, "package.json"), "utf8"));
  const [, ...words] = /&& deno (compile .*)$/.exec(scripts.compile)![1]!.split(" ");
  return words;
};

const expectToWork = async (
  begin: (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) => Running,
) => {
  const help = await begin(["export", "--help"]).done;
  expect(help).toMatchObject({ code: 0, err: "" });
  expect(help.out).toBe((await run(["export", "--help"])).out);
  const { sandbox, env } = await tenant();
  const data = join(await newFolder(), "data");
  const args = ["export", "--all-users", "--out", data, "--format", "ndjson,csv,parquet", "--quiet"];
  expect(await begin(args, env).done).toMatchObject({ code: 0, out: "", err: "" });
  expect(keysIn(await readFile(join(data, "ndjson/part-00000.ndjson"), "utf8"))).toEqual(keysOf(sandbox));
  expect(await sql(`SELECT count(*) AS n FROM ${parquetTable(`${data}/parquet/*.parquet`)}`))
    .toEqual([{ n: 60n }]);
  expect((await begin(["verify", data]).done).code).toBe(0);
};

it("what is compiled runs under Deno, with the permissions it is compiled with", async () => {
  const permissions = (await compileWords()).filter((word) => word.startsWith("--allow-"));
  const cli = join(project, "dist", "cli.js");
  const words = ["run", "--no-config", "--no-prompt", ...permissions, cli];
  await expectToWork((args, more) => start(deno, [...words, ...args], { env: { ...env, ...more } }));
});

it("it compiles to a program that needs nothing else", async (context) => {
  const program = join(await newFolder(), process.platform === "win32" ? "sessions.exe" : "sessions");
  const words = (await compileWords()).map((word) => word === "dist/monocloud-sessions" ? program : word);
  const { code, err } = await start(deno, ["compile", ...words], { env }).done;
  // Deno downloads what a compiled program begins with, once.
  if (code !== 0 && /Download .*denort[^]*error sending request/.test(err)) {
    return context.skip("needs a network, for the runtime that goes into the program");
  }
  expect({ code, said: code === 0 ? "" : err }).toEqual({ code: 0, said: "" });
  // Nothing of Deno or Node can be found from there.
  const elsewhere = { cwd: await newFolder() };
  await expectToWork((args, more) => start(program, args, { ...elsewhere, env: { ...env, ...more } }));
}, 300_000);
