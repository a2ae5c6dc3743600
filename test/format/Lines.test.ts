import { writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import * as Lines from "../../src/format/Lines.ts";
import * as SafeFile from "../../src/sink/SafeFile.ts";
import { make } from "../../src/sandbox/mod.ts";
import { answering, beginDeno, keysOf } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";

const collect = async (lines: AsyncIterable<ReadonlyArray<string>>): Promise<Array<string>> => {
  const all: Array<string> = [];
  for await (const some of lines) all.push(...some);
  return all;
};

async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const text = fc.string({
  unit: fc.constantFrom("a", "é", "😀", "\r", "\u0085", "\u2028", "\u2029", "\v", "\f", "\ufeff"),
});

it("a line ends at a line feed and at nothing else, however its bytes come", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(text, { minLength: 1 }).filter((lines) => lines.at(-1) !== ""),
    fc.integer({ min: 1, max: 9 }),
    fc.boolean(),
    async (lines, size, isEnded) => {
      const bytes = new TextEncoder().encode(lines.join("\n") + (isEnded ? "\n" : ""));
      expect(await collect(Lines.of(inPieces(bytes, size)))).toEqual(lines);
    },
  ));
});

it("an endless line is refused, not held", async () => {
  const endless = async function* () {
    while (true) yield new Uint8Array(1 << 22).fill(0x61);
  };
  await expect(collect(Lines.of(endless()))).rejects.toThrow("a line is longer than");
});

it("a file is read line by line", async () => {
  const path = join(await newFolder(), "lines");
  await writeFile(path, '"a\u2028b"\n"c"\r\n"d');
  expect(await collect(Lines.of(SafeFile.chunks(dirname(path), basename(path))))).toEqual([
    '"a\u2028b"',
    '"c"\r',
    '"d',
  ]);
});

it("under Deno, ids with U+2028 and U+2029 are users like any other, from run to run", async () => {
  const sandbox = make({ users: 4, sessionsPerUser: 3 });
  const [first = "", second = ""] = sandbox.userIds();
  // The tenant has two users whose ids hold what some readers of text take for a break.
  const odd = { [first]: `${first}\u2028x`, [second]: `\u2029${second}` };
  const named = (text: string) =>
    Object.entries(odd).reduce((text, [id, other]) => text.replaceAll(id, other), text);
  const plain = (text: string) => text.replaceAll("\u2028x", "").replaceAll("\u2029", "");
  const { env } = await answering(async ({ url = "", headers }, response) => {
    const path = plain(decodeURIComponent(url));
    const request = new Request(`http://sandbox.example${path}`, {
      headers: new Headers(headers as HeadersInit),
    });
    const answer = await sandbox.fetch(request);
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(named(await answer.text()));
  }, sandbox.key);
  const data = join(await newFolder(), "data");
  const permissions = [
    "--allow-env=MONOCLOUD_DOMAIN,MONOCLOUD_API_KEY",
    "--allow-net=127.0.0.1",
    `--allow-read=${data}`,
    `--allow-write=${data}`,
  ];
  const args = ["export", "--all-users", "--out", data, "--format", "ndjson,csv,parquet", "--rate", "1000/s"];
  for (let run = 0; run < 2; run++) {
    const { code, err } = await beginDeno(permissions, [...args, "--resume", "--since-last"], { env }).done;
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("users") });
    for (const keys of await keysInEach(data)) expect(keys).toEqual(keysOf(sandbox).map(named).sort());
  }
});
