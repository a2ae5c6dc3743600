/** The package as others get it, with what is installed here: no network. The matrix of all runtimes is beside this. */
import { readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import { inEffect, pack, plain, project, run, succeed, tryEntries, unpacked } from "./consumer.ts";

const node = [process.execPath];
const deno = [
  join(project, "node_modules", ".bin", "deno"),
  "run",
  "--allow-all",
  "--node-modules-dir=manual",
];
const peers = ["effect", "@effect/platform", "undici"];
/** What the clients of databases are, each with what it imports. */
const databases = ["@duckdb"];

let tarball = "";
beforeAll(async () => {
  tarball = await pack();
  return () => rm(dirname(tarball), { recursive: true, force: true });
});

const { exports, scripts } = JSON.parse(await readFile(join(project, "package.json"), "utf8"));

/** The entries that ask for a package of a database once a run begins. */
const targets = ["./duckdb", "./postgres"];

/** The entries that hold the Effect that they need, and what a thread loads. */
const bundled = ["./promise", "./server", "./server/serve", "./thread", "./thread/worker", "./worker"];

/** The modules that a file of types imports, directly and by way of others. */
const importsOf = async (path: string, seen = new Set<string>()): Promise<ReadonlyArray<string>> => {
  if (seen.has(path)) return [];
  seen.add(path);
  // Without comments, which hold examples.
  const text = (await readFile(path, "utf8")).replace(/\/\*.*?\*\//gs, "");
  const specifiers = [...text.matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, name = ""]) => name);
  const nested = await Promise.all(
    specifiers.filter((name) => name.startsWith("."))
      .map((name) => importsOf(join(dirname(path), name.replace(/\.[jt]s$/, ".d.ts")), seen)),
  );
  return [...specifiers.filter((name) => !name.startsWith(".")), ...nested.flat()];
};

describe("an entry without Effect", () => {
  it.each([...bundled, ...targets])(
    "%s has types that name no library",
    async (name) => {
      expect(await importsOf(join(project, exports[name].types))).toEqual([]);
    },
  );

  it("is told from one whose types name Effect", async () => {
    expect(await importsOf(join(project, exports["./effect/thread"].types))).toContain("effect/Effect");
  });

  it.each(bundled)("%s bundles by itself, for browsers too", async (name) => {
    const { metafile, warnings } = await build({
      stdin: {
        contents: `import * as all from "monocloud-sessions${name.slice(1)}"; console.log(all);`,
        resolveDir: await unpacked(tarball),
      },
      bundle: true,
      format: "esm",
      // Such as for browsers, and without Node's modules.
      platform: "browser",
      write: false,
      metafile: true,
      logLevel: "silent",
    });
    const packages = Object.keys(metafile.inputs).map((path) =>
      /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]
    );
    expect(new Set(packages)).toEqual(new Set([undefined, "monocloud-sessions"]));
    expect(warnings).toEqual([]);
  });
});

describe("the tarball", () => {
  it("carries the licence of every package that is bundled", async () => {
    const text = await readFile(join(project, "dist", "THIRD_PARTY_LICENSES.txt"), "utf8");
    const notices = text.split(/\n-{80}\n/);
    const names = notices.map((notice) => /^(?:Parts of[^\n]*\n)?\s*(\S+?),? /.exec(notice)?.[1]);
    expect(names).toEqual(
      expect.arrayContaining([
        "effect",
        "@effect/platform",
        "undici",
        "srvx",
        "hyparquet",
        "swagger-ui",
      ]),
    );
    for (const notice of notices) expect(notice).toMatch(/Permission is hereby granted|Apache License/);
  });

  it("runs nothing when it is installed", () => {
    const names = ["preinstall", "install", "postinstall", "prepare"];
    expect(Object.keys(scripts).filter((name) => names.includes(name))).toEqual([]);
  });

  it("leads from every type to its source", async () => {
    const folder = join(await unpacked(tarball), "node_modules", "monocloud-sessions");
    const files = new Set(await readdir(folder, { recursive: true }));
    const types = [...files].filter((name) => name.endsWith(".d.ts"));
    expect(types.length).toBeGreaterThan(50);
    for (const name of types) {
      const { sources } = JSON.parse(await readFile(join(folder, `${name}.map`), "utf8"));
      for (const source of sources) {
        expect([name, files.has(join(dirname(name), source))]).toEqual([name, true]);
      }
    }
  });
});

describe.each([["Node", node], ["Deno", deno]])("under %s, out of the tarball", (_, runtime) => {
  it("all entries work beside Effect 3", async () => {
    const all = { ...plain, ...inEffect };
    expect(await tryEntries(runtime, await unpacked(tarball, peers), Object.keys(all))).toEqual(all);
  });

  it("beside DuckDB, promises write tables without Effect, and Effect writes them to a bundled target", async () => {
    const promises = await unpacked(tarball, databases);
    expect(await tryEntries(runtime, promises, ["duckdb"])).toEqual({ duckdb: [30, true] });
    const effects = await unpacked(tarball, [...peers, ...databases]);
    expect(await tryEntries(runtime, effects, ["effect/warehouse"])).toEqual({
      "effect/warehouse": [30, true],
    });
  });

  it("beside no Effect, those that need none work, and the others say what they need", async () => {
    const folder = await unpacked(tarball);
    expect(await tryEntries(runtime, folder, Object.keys(plain))).toEqual(plain);
    for (
      const said of Object.values(
        await tryEntries(runtime, folder, ["effect", "effect/thread", "effect/warehouse", "undici"]),
      )
    ) {
      expect(said).toMatch(/^ERR_MODULE_NOT_FOUND .*'effect'.*needsEffect3\.js/);
    }
  });
});

it("require() gives each entry, and says of the one that serves to import it", async () => {
  const folder = await unpacked(tarball, peers);
  const names = Object.keys(exports).filter((name) => !["./package.json", "./thread/worker"].includes(name));
  const script = `for (const name of ${JSON.stringify(names)}) {
    try {
      console.log(name, Object.keys(require("monocloud-sessions" + name.slice(1))).length > 0);
    } catch (error) {
      console.log(name, error.code);
    }
  }`;
  const { out } = await run(process.execPath, ["--no-warnings", "--input-type=commonjs", "--eval", script], {
    cwd: folder,
  });
  const wanted = names.map((name) =>
    `${name} ${name === "./server/serve" ? "ERR_REQUIRE_ASYNC_MODULE" : "true"}`
  );
  expect(out.trim().split("\n")).toEqual(wanted);
});

it("the command runs out of the tarball, beside no other package", async () => {
  const folder = await unpacked(tarball);
  const packages = await readdir(join(folder, "node_modules"));
  for (const name of packages.filter((name) => name !== "monocloud-sessions")) {
    await rm(join(folder, "node_modules", name), { recursive: true });
  }
  const cli = join("node_modules", "monocloud-sessions", "dist", "cli.js");
  expect(await succeed(process.execPath, [cli, "export", "--help"], { cwd: folder })).toContain(
    "--all-users",
  );
});
