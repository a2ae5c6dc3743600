/** Folders of datasets that do what they can to harm whoever opens them. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cp,
  mkdir,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import * as Stream from "effect/Stream";
import * as fc from "fast-check";
import type { Choice } from "../../src/format/Formats.ts";
import { make } from "../../src/sandbox/mod.ts";
import { newFolder } from "../folders.ts";
import { choices, exportInto, mend } from "./written.ts";

/** What is said in the files that nobody may read. */
export const secret = "CANARY-7f3a";

/** Names as they lie in a dataset, or may be left in one. */
const files = [
  ...["manifest.json", "journal.ndjson", "lock.json", "users-0123abcd.txt", "users.txt"],
  ...["ndjson/part-00000.ndjson.gz", "csv/part-00000.csv", "parquet/part-00000.parquet"],
  ...["cursors/part-00000.ndjson", "quarantine/part-00000.ndjson", "tombstones/part-00001.ndjson"],
  ...["csv/part-00001.csv", "observed/part-00001.ndjson", "csv/part-00009.csv"],
  ...["journal.ndjson.0123abcd.moved", "lock.json.0123abcd", "manifest.json.0123abcd.partial"],
  "csv/part-00009.csv.0123abcd.partial",
];
const folders = ["ndjson", "csv", "parquet", "cursors", "quarantine", "tombstones", "observed"];

/** Values as no dataset has them. */
const values: ReadonlyArray<unknown> = [
  ...["../outside/victim.txt", "../../outside/victim.txt", "csv/../../outside/victim.txt", "/etc/passwd"],
  ...["..\\outside\\victim.txt", "csv/part-00000.csv\0", "csv/part-00000.ndjson", "ndjson/part-00000.csv"],
  ...["csv//part-00000.csv", "./csv/part-00000.csv", "csv/part-00000.csv", "CSV/part-00000.csv", "csv", ""],
  ...[
    "__proto__",
    "constructor",
    "part-00000.csv",
    "csv/part-9007199254740993.csv",
    "\ud800",
    "a".repeat(9e4),
  ],
  ...[-1, 1e308, 2 ** 53, 2 ** 53 - 1, 2 ** 31, 1e9, 0.5, 0, 1, 99, null, true, [], {}, [[[[]]]]],
  ...["superseded", "DEEP"],
];

/** One thing that is done to a folder. */
export type Attack =
  | { readonly kind: "value"; readonly file: string; readonly at: number; readonly value: unknown }
  | { readonly kind: "path"; readonly at: number; readonly value: unknown; readonly superseded: boolean }
  | { readonly kind: "text"; readonly file: string; readonly text: string }
  | { readonly kind: "strange"; readonly path: string; readonly as: string }
  | { readonly kind: "flip"; readonly file: number; readonly at: number; readonly byte: number };

const said = fc.constantFrom("manifest.json", "journal.ndjson");
const value = fc.constantFrom(...values);
const texts = ["", "\n", "{}\n", "null", "[", "DEEP", "HUGE", '{"__proto__":{"manifest_version":1}}', "\0\n"];

/** Attacks, a few at a time. */
export const attacks: fc.Arbitrary<ReadonlyArray<Attack>> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("value" as const), file: said, at: fc.nat(), value }),
    fc.record({ kind: fc.constant("path" as const), at: fc.nat(), value, superseded: fc.boolean() }),
    fc.record({
      kind: fc.constant("text" as const),
      file: fc.constantFrom(...files.filter((name) => !name.startsWith("lock"))),
      text: fc.constantFrom(...texts),
    }),
    fc.record({
      kind: fc.constant("strange" as const),
      path: fc.constantFrom(...files, ...folders),
      as: fc.constantFrom("link", "link to a folder", "dangling", "loop", "pipe", "folder", "file"),
    }),
    fc.record({ kind: fc.constant("flip" as const), file: fc.nat(), at: fc.nat(), byte: fc.nat(255) }),
  ),
  { minLength: 1, maxLength: 3 },
);

/** A text that is nested so deep. */
export const deep = (depth = 200_000): string => `${"[".repeat(depth)}${"]".repeat(depth)}`;

// deno-lint-ignore no-explicit-any
const placesIn = (value: any, found: Array<readonly [any, string]> = []) => {
  if (typeof value !== "object" || value === null) return found;
  for (const key of Object.keys(value)) {
    found.push([value, key]);
    placesIn(value[key], found);
  }
  return found;
};

/** The JSON with a value that may be put there as text alone. */
const jsonOf = (value: unknown): string => JSON.stringify(value).replaceAll('"DEEP"', deep());

const setOne = (text: string, at: number, value: unknown): string => {
  const whole = JSON.parse(text);
  const places = placesIn(whole);
  const [holder, key] = places[at % places.length]!;
  holder[key] = value;
  return jsonOf(whole);
};

const setValue = async (root: string, { file, at, value }: Extract<Attack, { readonly kind: "value" }>) => {
  const path = join(root, file);
  const text = await readFile(path, "utf8");
  if (file === "manifest.json") return writeFile(path, setOne(text, at, value));
  const lines = text.trimEnd().split("\n");
  lines[at % lines.length] = setOne(lines[at % lines.length]!, at >> 4, value);
  return writeFile(path, `${lines.join("\n")}\n`);
};

const setPath = async (
  root: string,
  { at, value, superseded }: Extract<Attack, { readonly kind: "path" }>,
) => {
  const path = join(root, "manifest.json");
  const manifest = JSON.parse(await readFile(path, "utf8"));
  const part = { ...manifest.parts[at % manifest.parts.length], path: value };
  if (superseded) manifest.superseded = [...manifest.superseded ?? [], part];
  else manifest.parts[at % manifest.parts.length] = part;
  return writeFile(path, jsonOf(manifest));
};

/** Makes a pipe. */
export const pipe = (path: string): void => {
  const { status, stderr } = spawnSync("mkfifo", [path]);
  if (status !== 0) throw new Error(`mkfifo: ${stderr}`);
};

/** Puts something else in the place of a file or folder: what it leads to lies beside the root. */
export const makeStrange = async (root: string, path: string, as: string): Promise<void> => {
  const full = join(root, path);
  const outside = join(dirname(root), "outside");
  await mkdir(dirname(full), { recursive: true });
  // Not into what is outside, where the folder is a link by now.
  if (await realpath(dirname(full)) !== join(await realpath(root), dirname(path))) return;
  await rm(full, { recursive: true, force: true });
  if (as === "pipe") return pipe(full);
  if (as === "folder") return await mkdir(full).then(() => undefined);
  // Half a minute is waited for who may have written an empty lock.
  if (as === "file") return path === "lock.json" ? undefined : writeFile(full, "");
  const target = as === "loop" ? full : join(outside, as === "dangling" ? "nothing" : path);
  const isThere = await stat(target).then(() => true, () => false);
  return symlink(
    as === "link to a folder" ? outside : as === "link" && !isThere ? join(outside, "victim.txt") : target,
    full,
  );
};

/** The bytes of the largest text of Node's, and more. */
const HUGE = 2 ** 30;

const attackOnce = async (root: string, attack: Attack): Promise<void> => {
  switch (attack.kind) {
    case "value":
      return setValue(root, attack);
    case "path":
      return setPath(root, attack);
    case "text": {
      const path = join(root, attack.file);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, attack.text === "DEEP" ? `${deep()}\n` : attack.text);
      if (attack.text === "HUGE") await truncate(path, HUGE);
      return;
    }
    case "strange":
      return makeStrange(root, attack.path, attack.as);
    case "flip": {
      const { parts } = JSON.parse(await readFile(join(root, "manifest.json"), "utf8"));
      const { path } = parts[attack.file % parts.length];
      const bytes = await readFile(join(root, path));
      bytes[attack.at % bytes.length] = attack.byte;
      await writeFile(join(root, path), bytes);
      return mend(root, path);
    }
  }
};

const order: ReadonlyArray<Attack["kind"]> = ["flip", "value", "path", "text", "strange"];

/**
 * Does all that to a folder, as far as one leaves the next something to work on: bytes first, then what the manifest says of
 * them, then links, so that nothing is written through any of these here.
 */
export const attack = async (root: string, attacks: ReadonlyArray<Attack>): Promise<void> => {
  const inOrder = [...attacks].sort((one, other) => order.indexOf(one.kind) - order.indexOf(other.kind));
  for (const one of inOrder) await attackOnce(root, one).catch(() => undefined);
};

/** A dataset of two runs, of which the second has found what was removed; and one with a third run that has not finished. */
export const datasets = async (tenant = "https://sandbox.example") => {
  const folder = await newFolder();
  const [finished, unfinished] = [join(folder, "finished"), join(folder, "unfinished")];
  const sandbox = make({ users: 4, sessionsPerUser: 12, seed: 3, malformed: 0.05 });
  // As the command would have it of all users.
  const options = {
    formats: choices("ndjson.gz", "csv", "parquet"),
    partRows: 25,
    tenant,
    options: { keepFormulas: false },
    users: { ids: Stream.fromIterable(sandbox.userIds()), identity: "all" },
  };
  await exportInto(sandbox, finished, { ...options, changes: "since-last" });
  const [user = ""] = sandbox.userIds();
  for (const { session_id } of [...sandbox.sessions(user)].slice(0, 3)) sandbox.remove(user, session_id);
  await exportInto(sandbox, finished, { ...options, changes: "since-last", prune: true });
  await cp(finished, unfinished, { recursive: true });
  let answers = 0;
  const failing = {
    ...sandbox,
    fetch: (request: Request) =>
      answers++ < 3 ? sandbox.fetch(request) : Promise.resolve(new Response("", { status: 401 })),
  };
  await exportInto(failing, unfinished, { ...options, changes: { since: 0 }, walk: { concurrency: 1 } })
    .catch(() => undefined);
  return { sandbox, options, roots: [finished, unfinished] as const };
};

/** What lies beside a dataset that nobody may touch: files by the names that a dataset has, with a secret in each. */
export const outsideOf = async (root: string, dataset: string) => {
  const outside = join(dirname(root), "outside");
  await cp(dataset, outside, { recursive: true });
  await writeFile(join(outside, "victim.txt"), `${secret}\n`);
  await writeFile(join(outside, "users-0123abcd.txt"), `"${secret}"\n`);
  const names = (await readdir(outside, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  const look = async () => {
    const seen: Array<string> = [];
    for (const name of names) {
      const { mtimeMs, ino, nlink, size } = await stat(name);
      seen.push(`${name} ${mtimeMs} ${ino} ${nlink} ${size}`);
    }
    const { mtimeMs } = await stat(outside);
    const hash = createHash("sha256");
    for (const name of names) hash.update(await readFile(name));
    return [...seen, mtimeMs, hash.digest("hex")].join("\n");
  };
  return { outside, look };
};

/** What damage is told with. */
export const doNow = "Restore it from a backup, or export into another folder";

export const formats = choices("ndjson", "csv", "parquet");

export const sandbox = make({ users: 3, sessionsPerUser: 4, seed: 3, malformed: 0.2 });

/** A small dataset in a folder of its own, beside which there is something that nobody may touch. */
export const received = async (written: ReadonlyArray<Choice> = formats) => {
  const root = join(await newFolder(), "data");
  await exportInto(sandbox, root, { formats: written, changes: "since-last" });
  const { look } = await outsideOf(root, root);
  const before = await look();
  return { root, isUntouched: async () => await look() === before };
};
