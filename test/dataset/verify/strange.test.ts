/** Folders with paths that lead elsewhere, numbers that can't be, and what is no file: each one by itself. */
import { spawnSync } from "node:child_process";
import { mkdir, readFile, rename, rm, stat, symlink, truncate } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import { describe, expect, it } from "vitest";
import * as Replay from "../../../src/dataset/quarantine/Replay.ts";
import * as Verify from "../../../src/dataset/verify/Verify.ts";
import { begin, run, tenant, untilItReads } from "../../cli/command.ts";
import { newFolder } from "../../folders.ts";
import { doNow, formats, makeStrange, pipe, received, sandbox, secret } from "../hostile.ts";
import { changeManifest, exportInto, failureOf, manifestOf, problemsOf } from "../written.ts";

const addTo = (root: string) => failureOf(sandbox, root, { formats, mode: "resume", changes: "since-last" });

const refusals = (root: string) =>
  Promise.all([
    Effect.runPromise(Effect.flip(Verify.run(root))),
    Effect.runPromise(Effect.flip(Replay.run(root))),
    addTo(root),
  ]);

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

it("a pipe does not keep the command waiting, and SIGTERM ends it at once while it reads", async () => {
  const { env } = await tenant({ users: 3 });
  const exporting = ["--all-users", "--format", "ndjson,csv,parquet", "--resume", "--since-last", "--out"];
  const commands = [
    ["verify", "csv/part-00000.csv", ["verify"]],
    ["replay", "quarantine/part-00000.ndjson", ["replay"]],
    ["export", "cursors/part-00000.ndjson", ["export", ...exporting]],
  ] as const;
  await Promise.all(commands.map(async ([, path, args]) => {
    const { root } = await received();
    const bytes = 2 ** 40;
    await truncate(join(root, path), bytes);
    await changeManifest(root, (manifest) => {
      manifest.parts.find((part: { readonly path: string }) => part.path === path).bytes = bytes;
      manifest.tenant = env.MONOCLOUD_DOMAIN;
      manifest.runs[0].options.keepFormulas = false;
    });
    const running = begin([...args, root], { env });
    await untilItReads(running, path);
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
});
