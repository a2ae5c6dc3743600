/** Each thing that a folder may do to harm whoever opens it, one by one. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";
import * as Effect from "effect/Effect";
import { beforeAll, describe, expect, it } from "vitest";
import * as Replay from "../../src/dataset/Replay.ts";
import * as Verify from "../../src/dataset/Verify.ts";
import { make } from "../../src/sandbox/mod.ts";
import { begin, run, tenant, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { deep, makeStrange, outsideOf, pipe, secret } from "./hostile.ts";
import { changeManifest, choices, exportInto, failureOf, manifestOf, mend, setManifest } from "./written.ts";

const formats = choices("ndjson", "csv", "parquet");
const sandbox = make({ users: 3, sessionsPerUser: 4, seed: 3, malformed: 0.2 });

let template: string;
beforeAll(async () => {
  template = join(process.env["TMPDIR"] ?? "/tmp", `monocloud-sessions-strange-${process.pid}`);
  await exportInto(sandbox, template, { formats, changes: "since-last" });
  return () => rm(template, { recursive: true, force: true });
});

/** A dataset in a folder of its own, beside which there is something that nobody may touch. */
const received = async () => {
  const root = join(await newFolder(), "data");
  await cp(template, root, { recursive: true });
  const { look } = await outsideOf(root, template);
  const before = await look();
  return { root, isUntouched: async () => await look() === before };
};

const addTo = (root: string) => failureOf(sandbox, root, { formats, mode: "resume", changes: "since-last" });

const verify = (root: string) => Effect.runPromise(Verify.run(root));

const problemsOf = async (root: string) =>
  (await verify(root)).problems.map(({ path, problem }) => `${path} ${problem}`);

const refusals = (root: string) =>
  Promise.all([
    Effect.runPromise(Effect.flip(Verify.run(root))),
    Effect.runPromise(Effect.flip(Replay.run(root))),
    addTo(root),
  ]);

const doNow = "Restore it from a backup, or export into another folder";

describe("a path of a part that leads elsewhere is refused:", () => {
  it.each(["../outside/victim.txt", "csv/../../outside/victim.txt", "/etc/passwd", "csv/part-00000.ndjson"])(
    "%s",
    async (path) => {
      for (const list of ["parts", "superseded"]) {
        const { root, isUntouched } = await received();
        await changeManifest(root, (manifest) => {
          manifest[list] = [...manifest[list] ?? [], { ...manifest.parts[0], path }];
        });
        for (const error of await refusals(root)) {
          expect(error).toMatchObject({ reason: "Corrupt", path: join(root, "manifest.json") });
          expect(error.message).toContain(`${join(root, "manifest.json")} is damaged: `);
          expect(error.message).toContain(doNow);
        }
        expect(await isUntouched()).toBe(true);
      }
    },
  );

  it("by the command as well, which removes nothing", async () => {
    const { root, isUntouched } = await received();
    await changeManifest(root, (manifest) => {
      manifest.superseded = [{ ...manifest.parts[0], path: "../outside/victim.txt" }];
    });
    const { env } = await tenant({ users: 3 });
    const args = ["--all-users", "--out", root, "--format", "csv", "--resume", "--since-last", "--quiet"];
    const { code, err } = await run(["export", ...args], { env });
    expect({ code, err }).toEqual({
      code: 65,
      err: `Error: ${root}/manifest.json is damaged: superseded.0.path: is no path of a part. ${doNow}\n`,
    });
    expect(await isUntouched()).toBe(true);
  });
});

describe("numbers that can't be are refused:", () => {
  // deno-lint-ignore no-explicit-any
  const changes: ReadonlyArray<readonly [string, (manifest: any) => void]> = [
    ["a part of a run that there is not", ({ parts }) => parts[0].run = 2],
    ["a part of another number than its name has", ({ parts }) => parts[0].part = 1],
    ["a run that is not the next", ({ runs }) => runs[0].run = 2],
    ["a part that comes twice", (manifest) => manifest.superseded = [manifest.parts[0]]],
    ["a negative number", ({ parts }) => parts[0].part = -1],
    ["more rows than can be counted", ({ parts }) => parts[0].rows = 2 ** 53],
    ["more bytes than there are atoms", ({ runs }) => runs[0].bytes = 1e308],
    ["a next part that is the last there may be", (manifest) => manifest.next_part = 1e9],
    ["a next part that is none", (manifest) => manifest.next_part = 2 ** 53],
  ];
  it.each(changes)("%s", async (_, change) => {
    const { root } = await received();
    await changeManifest(root, change);
    const before = await readFile(join(root, "manifest.json"), "utf8");
    const error = await addTo(root);
    expect(error).toMatchObject({ reason: "Corrupt", path: join(root, "manifest.json") });
    expect(await readFile(join(root, "manifest.json"), "utf8")).toBe(before);
  });
});

describe("what is no file of the folder is neither opened nor removed:", () => {
  const kinds = [["link", "symbolic link"], ["pipe", "pipe"], ["folder", "folder"]] as const;
  it.each(kinds)("a %s", async (as, words) => {
    for (const path of ["manifest.json", "journal.ndjson", "lock.json", "journal.ndjson.0123abcd.moved"]) {
      const { root, isUntouched } = await received();
      await makeStrange(root, path, as);
      const error = await addTo(root);
      expect(error).toMatchObject({ reason: "Corrupt", path: join(root, path) });
      expect(error.message).toMatch(new RegExp(`it is a ${words}, not a file\\. Restore`));
      expect(error.message).not.toContain(secret);
      expect(await isUntouched()).toBe(true);
    }
  });

  it.each(kinds)("a %s in the place of a part", async (as, words) => {
    const { root, isUntouched } = await received();
    await makeStrange(root, "csv/part-00000.csv", as);
    expect(await problemsOf(root)).toEqual([
      expect.stringMatching(new RegExp(`^csv/part-00000.csv can't be read: .*it is a ${words}, not a file$`)),
    ]);
    expect(await addTo(root)).toMatchObject({ reason: "Corrupt", path: join(root, "csv/part-00000.csv") });
    expect(await isUntouched()).toBe(true);
  });

  it("a link in the place of a folder of parts", async () => {
    const { root, isUntouched } = await received();
    await makeStrange(root, "csv", "link");
    expect(await problemsOf(root)).toEqual([
      "csv/part-00000.csv can't be read: it is a symbolic link, not a folder",
      "csv can't be read: it is a symbolic link, not a folder",
    ]);
    expect(await addTo(root)).toMatchObject({ reason: "Corrupt", path: join(root, "csv") });
    expect(await isUntouched()).toBe(true);
  });

  it("but the folder that is named may be a link itself", async () => {
    const { root } = await received();
    await rename(root, `${root}-real`);
    await symlink(`${root}-real`, root);
    expect(await problemsOf(root)).toEqual([]);
    await exportInto(sandbox, root, { formats, mode: "resume", changes: "since-last" });
    expect((await manifestOf(`${root}-real`)).runs).toHaveLength(2);
  });
});

describe("JSON that is too much is damage:", () => {
  const bodies: ReadonlyArray<readonly [string, string, string]> = [
    ["arrays in arrays", deep(), "it is nested more than 100 deep"],
    ["objects in objects", `${'{"a":'.repeat(2e5)}1${"}".repeat(2e5)}`, "it is nested more than 100 deep"],
    [
      "a great many names",
      `{${Array.from({ length: 2e5 }, (_, i) => `"a${i}":0`)}}`,
      "it has more than 500 names",
    ],
    ["a great many values", `[${"0,".repeat(2 ** 24)}0]`, "it has more than 16777216 values"],
  ];
  it.each(bodies)("%s", async (_, body, words) => {
    for (const name of ["manifest.json", "journal.ndjson"]) {
      const { root } = await received();
      await writeFile(join(root, name), `${body}\n`);
      const error = await Effect.runPromise(Effect.flip(Verify.run(root)));
      expect(error.message).toContain(`${join(root, name)} is damaged: ${words}`);
    }
  });

  it("a gigabyte", async () => {
    for (const name of ["manifest.json", "journal.ndjson", "users.txt"]) {
      const { root } = await received();
      await writeFile(join(root, name), "");
      await truncate(join(root, name), 2 ** 30);
      if (name === "users.txt") continue;
      const error = await Effect.runPromise(Effect.flip(Verify.run(root)));
      expect(error.message).toBe(
        `${join(root, name)} is damaged: it has ${2 ** 30} bytes, and ${
          2 ** 28
        } are the most it may have. ${doNow}`,
      );
    }
  });

  it("a line of the journal of more than 64 MiB", async () => {
    const { root } = await received();
    await writeFile(join(root, "journal.ndjson"), " ".repeat(2 ** 26 + 2 ** 20));
    const error = await addTo(root);
    expect(error.message).toContain("journal.ndjson is damaged: a line is longer than 67108864 bytes");
  });

  it("where a walk stands that is nowhere", async () => {
    const { root } = await received();
    await changeManifest(
      root,
      (manifest) => manifest.failed = [{ user_id: "a", message: "", state: { walk: 1 } }],
    );
    expect((await addTo(root)).message).toContain(
      "manifest.json is damaged: failed.0.state: is no state of a walk",
    );
  });
});

/** Replaces a part by these bytes, and makes the manifest say that they were written so. */
const put = async (root: string, path: string, bytes: Uint8Array) => {
  await writeFile(join(root, path), bytes);
  await mend(root, path);
};

describe("a part that is made to hurt its reader is damage:", () => {
  const line = (part: string) => `{"user_id":"u","session_id":"s",${part}}\n`;
  const parquetOf = (footer: ReadonlyArray<number>) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(footer.length);
    return Buffer.concat([Buffer.from("PAR1"), Buffer.from(footer), length, Buffer.from("PAR1")]);
  };
  const many = (length: number, byte: number) => Array.from({ length }, () => byte);
  // A list that says it has 30 million items, of which the first is such a list.
  const list = [0xf9, 0x80, 0x87, 0xa7, 0x0e];
  const bodies: ReadonlyArray<readonly [string, string, () => Uint8Array, RegExp]> = [
    [
      "a row nested 200,000 deep",
      "ndjson/part-00000.ndjson",
      () => Buffer.from(line(`"x":${deep()}`)),
      /row 1 is (no session|nested too deep)/,
    ],
    ["a line of 70 MB", "ndjson/part-00000.ndjson", () => Buffer.alloc(70e6, 0x61), /a line is longer than/],
    [
      "millions of lines",
      "ndjson/part-00000.ndjson",
      () => Buffer.alloc(6e5, 0x0a),
      /was not read on from row/,
    ],
    [
      "a row of millions of cells",
      "csv/part-00000.csv",
      () => Buffer.alloc(5e6, 0x2c),
      /more than 10000 columns/,
    ],
    [
      "a mark nested deep",
      "state/part-00000.ndjson",
      () => Buffer.from(line(`"mark":${deep()}`)),
      /is no mark/,
    ],
    [
      "lists of Parquet that are not there",
      "parquet/part-00000.parquet",
      () => parquetOf([0x19, ...Array.from({ length: 50 }, () => list).flat()]),
      /can't be read: it is no Parquet of this program: a list has 30000000 items/,
    ],
    [
      "a number of Parquet without an end",
      "parquet/part-00000.parquet",
      () => parquetOf([0x16, ...many(1e6, 0xff)]),
      /a number has no end/,
    ],
    [
      "structs of Parquet in structs",
      "parquet/part-00000.parquet",
      () => parquetOf(many(1e6, 0x1c)),
      /it is nested too deep/,
    ],
  ];
  it.each(bodies)("%s", async (_, path, bytes, words) => {
    const { root } = await received();
    await put(root, path, bytes());
    const problems = await problemsOf(root);
    expect(problems.find((problem) => words.test(problem))).toContain(path);
  });

  it("a bomb of gzip", async () => {
    const root = join(await newFolder(), "data");
    await exportInto(sandbox, root, { formats: choices("ndjson.gz") });
    for (const [bytes, byte] of [[7e7, 0x61], [1e6, 0x0a]] as const) {
      await put(root, "ndjson/part-00000.ndjson.gz", gzipSync(Buffer.alloc(bytes, byte)));
      expect((await problemsOf(root)).join()).toMatch(/a line is longer than|was not read on from row/);
    }
  });

  it("values of Parquet that are packed as more than they are", async () => {
    const { root } = await received();
    const path = "parquet/part-00000.parquet";
    const whole = await readFile(join(root, path));
    // Of each byte in turn of the pages: whatever it tells, the reader comes to an end.
    for (let at = 4; at < whole.length - 8; at += 37) {
      const bytes = Buffer.from(whole);
      bytes[at] = 0xfe;
      await writeFile(join(root, path), bytes);
      const manifest = await manifestOf(root);
      const part = manifest.parts.find((part: { readonly path: string }) => part.path === path);
      part.sha256 = createHash("sha256").update(bytes).digest("hex");
      await setManifest(root, manifest);
      const { problems } = await verify(root);
      expect(problems.every((problem) => problem.path === path || problem.path.startsWith("csv"))).toBe(true);
    }
  });
});

it("a pipe does not keep the command waiting, and SIGTERM ends it at once while it reads", async () => {
  const { env } = await tenant({ users: 3 });
  const exporting = ["--all-users", "--format", "ndjson,csv,parquet", "--resume", "--since-last", "--out"];
  const commands = [
    ["verify", "csv/part-00000.csv", ["verify"]],
    ["replay", "rejected/part-00000.ndjson", ["replay"]],
    ["export", "state/part-00000.ndjson", ["export", ...exporting]],
  ] as const;
  await Promise.all(commands.map(async ([, path, args]) => {
    const { root } = await received();
    const bytes = 2 ** 40;
    await truncate(join(root, path), bytes);
    await changeManifest(root, ({ parts, tenant: _, ...manifest }) => {
      parts.find((part: { readonly path: string }) => part.path === path).bytes = bytes;
      return manifest;
    });
    await changeManifest(root, (manifest) => manifest.tenant = env.MONOCLOUD_DOMAIN);
    await changeManifest(root, ({ runs }) => Object.assign(runs[0].options, { keepFormulas: false }));
    const running = begin([...args, root], { env });
    // It has begun once it says how far it is, or has written the journal.
    await until(
      async () =>
        running.child.exitCode !== null || running.err() !== "" ||
        await stat(join(root, "lock.json")).then(() => true, () => false) || args[0] === "verify",
      "it has begun",
    );
    await new Promise((resume) => setTimeout(resume, 1500));
    expect(running.child.exitCode, running.err()).toBe(null);
    const began = performance.now();
    running.kill("SIGTERM");
    const { code } = await running.done;
    expect(code).toBe(75);
    expect(performance.now() - began).toBeLessThan(5000);
  }));
  const { root } = await received();
  await rm(join(root, "csv/part-00000.csv"));
  pipe(join(root, "csv/part-00000.csv"));
  const { code, out } = await run(["verify", root]);
  expect([code, out]).toEqual([
    65,
    expect.stringContaining("csv/part-00000.csv can't be read: it is a pipe"),
  ]);
});

it.skipIf(process.platform === "win32")("a new dataset is nobody else's to look into", async () => {
  const folder = await newFolder();
  const [made, given] = [join(folder, "made"), join(folder, "given")];
  await mkdir(given, { mode: 0o755 });
  const umask = Number.parseInt(spawnSync("sh", ["-c", "umask"]).stdout.toString(), 8);
  for (const root of [made, given]) await exportInto(sandbox, root, { formats });
  const mode = async (path: string) => ((await stat(join(folder, path))).mode & 0o777).toString(8);
  expect([await mode("made"), await mode("made/csv"), await mode("given/csv")]).toEqual([
    "700",
    "700",
    "700",
  ]);
  expect(await mode("given")).toBe((0o755 & ~umask).toString(8));
  expect(await mode("made/manifest.json")).toBe((0o666 & ~umask).toString(8));
  expect(basename(made)).toBe("made");
});
