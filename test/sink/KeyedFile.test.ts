import {
  appendFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as KeyedFile from "../../src/sink/KeyedFile.ts";
import { newFolder } from "../folders.ts";
import { some } from "../size.ts";

const codec: KeyedFile.Codec = {
  begin: '["',
  lineOf: (key, value) => `${JSON.stringify([key, value])}\n`,
  read: (line) => {
    const [key, value] = JSON.parse(line);
    if (typeof value !== "string") throw new Error();
    return [key, value];
  },
};

const setUp = async (text?: string) => {
  const folder = await newFolder();
  const path = join(folder, "lines.ndjson");
  if (text !== undefined) await writeFile(path, text);
  return { folder, path };
};

/** Opens the file, works on it, and closes it. */
const use = async <A>(path: string, work: (file: KeyedFile.KeyedFile) => A | Promise<A>): Promise<A> => {
  const file = await KeyedFile.open(path, codec);
  try {
    return await work(file);
  } finally {
    await file.close();
  }
};

const valuesAt = (path: string, ...keys: ReadonlyArray<string>) => use(path, ({ get }) => keys.map(get));

describe("a file of lines by key", () => {
  it("keeps the last value of each key, for its owner's eyes alone", async () => {
    const { path } = await setUp();
    await use(path, async ({ set, get }) => {
      await set("a", "1");
      await set("b", "2\n");
      await set("a", "3");
      expect(get("a")).toBe("3");
    });
    expect(await readFile(path, "utf8")).toBe('["a","1"]\n["b","2\\n"]\n["a","3"]\n');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await valuesAt(path, "a", "b", "c")).toEqual(["3", "2\n", undefined]);
  });

  it("adds no line for a value that is there already", async () => {
    const { path } = await setUp('["a","1"]\n');
    await use(path, ({ set }) => set("a", "1"));
    expect(await readFile(path, "utf8")).toBe('["a","1"]\n');
  });

  it("writes what is set at once one after another, and closes after all of it", async () => {
    const { path } = await setUp();
    const file = await KeyedFile.open(path, codec);
    const names = Array.from({ length: 50 }, (_, at) => `key ${at}`);
    const all = Promise.all(names.map((name) => file.set(name, name.repeat(50))));
    await file.close();
    await all;
    expect((await readFile(path, "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line)[0])).toEqual(
      names,
    );
  });

  it("is never made of a file of another kind, which stays as it is", () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: "grapheme" }),
          fc.json(),
          fc.constantFrom(
            "{}",
            "[]",
            "null",
            '{"a":"1"}',
            "[1]",
            "my notes",
            '[\n  "a",\n  "1"\n]',
            '["a","1"]\nnotes',
          ),
        ).filter((text) => text !== "" && !/^(\["a","1"\]\n)*(\[("|$)|$)/.test(text)),
        async (text) => {
          const { path } = await setUp(text);
          const lines = text.split("\n").slice(0, -1);
          const isOurs = lines.every((line) => {
            try {
              return codec.read(line) !== undefined;
            } catch {
              return false;
            }
          }) && text.endsWith("\n");
          if (isOurs) return;
          await expect(KeyedFile.open(path, codec)).rejects.toThrow(KeyedFile.DamagedLine);
          expect(await readFile(path, "utf8")).toBe(text);
        },
      ),
      { numRuns: some(1000) },
    ));

  it("goes on after a line that was cut off, wherever it was cut, and keeps those before it", async () => {
    const last = codec.lineOf("é", "ü");
    const bytes = new TextEncoder().encode(last);
    for (let cut = 0; cut < bytes.length; cut++) {
      const { folder, path } = await setUp('["a","1"]\n');
      await appendFile(path, bytes.subarray(0, cut));
      expect(await use(path, async ({ get, set }) => [get("a"), get("é"), await set("é", "x")])).toEqual([
        "1",
        undefined,
        undefined,
      ]);
      expect(await readFile(path, "utf8")).toBe('["a","1"]\n["é","x"]\n');
      expect(await readdir(folder)).toEqual(["lines.ndjson"]);
    }
  });

  it.each(["nonsense\n", '["a"]\n', "\n"])("tells which line is damaged: %j", async (damaged) => {
    const text = `["a","1"]\n${damaged}["b","2"]\n`;
    const { path } = await setUp(text);
    const error = await KeyedFile.open(path, codec).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(KeyedFile.DamagedLine);
    expect(error).toMatchObject({ line: 2 });
    expect(await readFile(path, "utf8")).toBe(text);
  });

  it("is written anew when it is opened and most of its lines are old", async () => {
    const lines = Array.from({ length: 100 }, (_, at) => codec.lineOf("a", `${at}`));
    const { folder, path } = await setUp(`${codec.lineOf("b", "x")}${lines.join("")}`);
    // Left by a process that was killed while it wrote the file anew.
    await writeFile(`${path}.partial`, "half");
    expect(await valuesAt(path, "a", "b")).toEqual(["99", "x"]);
    expect(await readFile(path, "utf8")).toBe('["b","x"]\n["a","99"]\n');
    expect(await readdir(folder)).toEqual(["lines.ndjson"]);
  });

  it("goes on where it can't be written anew, and keeps what was set", async () => {
    const { folder, path } = await setUp();
    const value = "x".repeat(2 ** 20);
    await use(path, async ({ set }) => {
      await mkdir(`${path}.partial`);
      const sets = Array.from({ length: 8 }, (_, at) => set("a", `${at} ${value}`));
      const failed = (await Promise.allSettled(sets)).filter(({ status }) => status === "rejected");
      expect(failed.length).toBeGreaterThan(0);
      await rm(`${path}.partial`, { recursive: true });
      await set("b", "2");
      await set("c", "3");
    });
    expect(await readdir(folder)).toEqual(["lines.ndjson"]);
    expect((await readFile(path, "utf8")).split("\n")).toHaveLength(4);
    expect(await valuesAt(path, "a", "b", "c")).toEqual([`7 ${value}`, "2", "3"]);
  });

  it("has no half of a line before those that follow one that could not be written whole", async () => {
    const { path } = await setUp();
    const handle = await open(path, "a");
    const prototype = Object.getPrototypeOf(handle);
    await handle.close();
    const { appendFile: append } = prototype;
    await use(path, async ({ set }) => {
      await set("a", "1");
      prototype.appendFile = async function (line: Uint8Array) {
        await append.call(this, line.subarray(0, 4));
        throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
      };
      await expect(set("b", "2")).rejects.toThrow("no space left");
      prototype.appendFile = append;
      await set("c", "3");
    }).finally(() => (prototype.appendFile = append));
    expect(await readFile(path, "utf8")).toBe('["a","1"]\n["c","3"]\n');
  });

  it("stays a link where it is one, and what it leads to is written anew", async () => {
    const { folder, path } = await setUp(codec.lineOf("a", "1").repeat(100));
    const link = join(folder, "link");
    await symlink(path, link);
    await use(link, ({ set }) => set("b", "2"));
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect(await readlink(link)).toBe(path);
    expect(await readFile(path, "utf8")).toBe('["a","1"]\n["b","2"]\n');
  });

  it("never writes through a link in the place of what it writes anew", async () => {
    const { folder, path } = await setUp(codec.lineOf("a", "1").repeat(100));
    const victim = join(folder, "victim");
    await writeFile(victim, "precious");
    await symlink(victim, `${path}.partial`);
    expect(await valuesAt(path, "a")).toEqual(["1"]);
    expect(await readFile(victim, "utf8")).toBe("precious");
  });

  it("is refused where it is a folder, or its folder is none", async () => {
    const { folder } = await setUp();
    await expect(KeyedFile.open(folder, codec)).rejects.toThrow("it is a folder");
    await expect(KeyedFile.open(join(folder, "no", "lines"), codec)).rejects.toThrow("ENOENT");
  });
});
