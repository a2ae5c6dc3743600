import { execFileSync } from "node:child_process";
import { mkdir, open, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { gunzipSync } from "node:zlib";
import * as Effect from "effect/Effect";
import { describe, expect, it, onTestFinished } from "vitest";
import * as FileSink from "../../src/sink/FileSink.ts";
import * as GzipSink from "../../src/sink/GzipSink.ts";
import { SinkError } from "../../src/sink/Sink.ts";
import { newFolder } from "../folders.ts";
import { noise, outputContract, send, utf8 } from "./contract.ts";

const readIfThere = (path: string): Promise<Uint8Array | undefined> => readFile(path).catch(() => undefined);

outputContract({
  name: "File",
  digests: true,
  trial: async () => {
    const path = join(await newFolder(), "sessions.ndjson");
    return { output: FileSink.make(path), complete: () => readIfThere(path) };
  },
});

outputContract({
  name: "Gzip over File",
  digests: true,
  decode: (bytes) => gunzipSync(bytes),
  trial: async () => {
    const path = join(await newFolder(), "sessions.ndjson.gz");
    return { output: GzipSink.make(FileSink.make(path)), complete: () => readIfThere(path) };
  },
});

const failureOf = (path: string, bytes = utf8("x")) =>
  Effect.runPromise(Effect.flip(send(FileSink.make(path), [bytes])));

/** A file system of 64 KiB, if this machine lets the test mount one. */
const smallDisk = async (): Promise<string | undefined> => {
  const folder = await newFolder();
  const disk = join(folder, "disk");
  await mkdir(disk);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", disk], { stdio: "ignore" });
  } catch {
    await rmdir(disk);
    return undefined;
  }
  onTestFinished(() => void execFileSync("umount", [disk]));
  return disk;
};

describe("File.make()", () => {
  it("replaces a file of that name at the commit and not before", async () => {
    const path = join(await newFolder(), "sessions.csv");
    await writeFile(path, "the one before");
    await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
      const sink = yield* FileSink.make(path).open;
      yield* sink.write(noise(1_000_000));
      expect(yield* Effect.promise(() => readFile(path, "utf8"))).toBe("the one before");
      yield* sink.commit;
    })));
    expect((await readFile(path)).length).toBe(1_000_000);
  });

  it("leaves a file of that name alone when the export fails", async () => {
    const folder = await newFolder();
    const path = join(folder, "sessions.csv");
    await writeFile(path, "the one before");
    const failing = Effect.gen(function* () {
      const sink = yield* FileSink.make(path).open;
      yield* sink.write(noise(1_000_000));
      yield* Effect.fail("this export's failure");
    });
    await Effect.runPromiseExit(Effect.scoped(failing));
    expect(await readFile(path, "utf8")).toBe("the one before");
    expect(await readdir(folder)).toEqual(["sessions.csv"]);
  });

  it("leaves nothing but the file", async () => {
    const folder = await newFolder();
    await Effect.runPromise(send(FileSink.make(join(folder, "sessions.csv")), [utf8("x")]));
    expect(await readdir(folder)).toEqual(["sessions.csv"]);
  });

  it.each([
    { code: "EIO", fails: true },
    { code: "ENOSPC", fails: true },
    { code: "EINVAL", fails: false },
    { code: "ENOTSUP", fails: false },
  ])("passes over a folder that can't be flushed only where none can: $code", async ({ code, fails }) => {
    const path = join(await newFolder(), "file");
    const handle = await open(path, "w");
    const prototype = Object.getPrototypeOf(handle);
    await handle.close();
    const { sync } = prototype;
    onTestFinished(() => void (prototype.sync = sync));
    prototype.sync = async function () {
      if ((await this.stat()).isDirectory()) throw Object.assign(new Error(code), { code });
      return sync.call(this);
    };
    const sent = await Effect.runPromise(Effect.either(send(FileSink.make(path), [utf8("whole")])));
    expect(sent).toMatchObject(
      fails ? { left: { _tag: "SinkError", reason: "Commit", path } } : { right: { bytes: 5 } },
    );
  });

  it("gets its name only once that is proven, with all its bytes on the disk", async () => {
    const folder = await newFolder();
    const path = join(folder, "file");
    const found: Array<string> = [];
    const prove = async () => {
      const [name = ""] = await readdir(folder);
      found.push(await readFile(join(folder, name), "utf8"));
      expect(name).toMatch(/\.partial$/);
      throw new Error("not any more");
    };
    const error = await Effect.runPromise(Effect.flip(send(FileSink.make(path, { prove }), [utf8("whole")])));
    expect(error.message).toBe(`Cannot complete ${path}: not any more`);
    expect(found).toEqual(["whole"]);
    expect(await readdir(folder)).toEqual([]);
  });

  it("lets two exports write the same name: the last to commit has it", async () => {
    const path = join(await newFolder(), "sessions.csv");
    await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
      const [one, two] = [yield* FileSink.make(path).open, yield* FileSink.make(path).open];
      yield* one.write(utf8("one"));
      yield* two.write(utf8("two"));
      yield* two.commit;
      yield* one.commit;
    })));
    expect(await readFile(path, "utf8")).toBe("one");
  });

  it.each([
    {
      at: "in a folder that is not there",
      path: (folder: string) => join(folder, "absent", "s.csv"),
      says: "its folder does not exist: create it first",
    },
    {
      at: "where there is a folder",
      path: (folder: string) => folder,
      says: "it is a folder: name a file",
    },
    {
      at: "beneath a file",
      path: (folder: string) => join(folder, "a-file", "s.csv"),
      says: "part of its path is a file, not a folder",
    },
  ])("can't open $at, and says what to do", async ({ path, says }) => {
    const folder = await newFolder();
    await writeFile(join(folder, "a-file"), "");
    const error = await failureOf(path(folder));
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({ reason: "Open", path: path(folder) });
    expect(error.message).toBe(`Cannot open ${path(folder)}: ${says}`);
    expect(await readdir(folder)).toEqual(["a-file"]);
  });

  it("can't open where nobody may write, and says what to do", async (context) => {
    // Permissions do not bind root, but the kernel's own folders do.
    if (process.platform !== "linux") return context.skip("needs Linux's /sys");
    const error = await failureOf("/sys/kernel/sessions.csv");
    expect(error).toMatchObject({ reason: "Open" });
    expect(error.message).toBe(
      "Cannot open /sys/kernel/sessions.csv: permission denied: choose another place, or change who may write there",
    );
  });

  it("tells of a full disk by name, with what to do, and removes what it wrote", async (context) => {
    const disk = await smallDisk();
    if (disk === undefined) return context.skip("this machine does not let the test mount a file system");
    const path = join(disk, "sessions.csv");
    const error = await failureOf(path, noise(1_000_000));
    expect(error).toMatchObject({ reason: "Write", path });
    expect(error.message).toBe(
      `Cannot write ${path}: the disk is full: free some space or choose another place`,
    );
    expect(await readdir(disk)).toEqual([]);
  });

  it("tells of it again whoever goes on writing, by whatever room", async (context) => {
    const disk = await smallDisk();
    if (disk === undefined) return context.skip("this machine does not let the test mount a file system");
    const told = await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
      const sink = yield* FileSink.make(join(disk, "sessions.csv")).open;
      const told: Array<string> = [];
      for (let i = 0; i < 12; i++) {
        const chunk = noise(100_000, i);
        const place = sink.allocate?.(chunk.length) ?? chunk;
        place.set(chunk);
        told.push(
          yield* Effect.match(sink.write(place), { onFailure: ({ reason }) => reason, onSuccess: () => "" }),
        );
      }
      return told;
    })));
    // Three chunks are gathered before the first write, and three more until that turns out to have failed.
    expect(told).toEqual([
      ...Array.from({ length: 5 }, () => ""),
      ...Array.from({ length: 7 }, () => "Write"),
    ]);
  });

  it("tells of a disk that is full at the very end, too", async (context) => {
    const disk = await smallDisk();
    if (disk === undefined) return context.skip("this machine does not let the test mount a file system");
    const error = await failureOf(join(disk, "sessions.csv"), noise(100_000));
    expect(error.message).toContain("the disk is full: free some space or choose another place");
    expect(await readdir(disk)).toEqual([]);
  });

  it("tells of a full disk through compression", async (context) => {
    const disk = await smallDisk();
    if (disk === undefined) return context.skip("this machine does not let the test mount a file system");
    const path = join(disk, "sessions.csv.gz");
    const chunks = Array.from({ length: 100 }, (_, i) => noise(100_000, i));
    const error = await Effect.runPromise(Effect.flip(send(GzipSink.make(FileSink.make(path)), chunks)));
    expect(error).toMatchObject({ reason: "Write", path });
    expect(error.message).toContain("the disk is full");
    expect(await readdir(disk)).toEqual([]);
  });
});
