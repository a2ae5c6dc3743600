/** The project as others get it: packages, types, lint, examples. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import * as mod from "../src/mod.ts";
import * as promise from "../src/promise.ts";
import * as sandbox from "../src/sandbox/mod.ts";
import * as server from "../src/server/mod.ts";
import * as serverInEffect from "../src/server/effect.ts";
import * as threadInEffect from "../src/thread/effect.ts";
import * as thread from "../src/thread/mod.ts";
import * as duckdb from "../src/warehouse/duckdb.ts";
import * as warehouseInEffect from "../src/warehouse/mod.ts";
import * as postgres from "../src/warehouse/postgres.ts";
import { version } from "../src/version.ts";
import { project, start } from "./cli/command.ts";
import { newFolder } from "./folders.ts";
import { isLong, oneIn } from "./size.ts";

const bin = (name: string) => join(project, "node_modules", ".bin", name);

const json = async (path: string) => JSON.parse(await readFile(join(project, path), "utf8"));

const run = (program: string, args: ReadonlyArray<string>) =>
  start(program, args, { env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" } }).done;

/** Types of what `npm run check` does not look at, as examples are: for the long tier. */
const unchecked = isLong ? [] : ["--no-check"];

/** Whether a built file is a part of what is bundled, and no module to import. */
const isPart = (name: string): boolean => name === "cli.js" || name.startsWith("chunks/");

const node = (script: string) => run(process.execPath, ["--input-type=module", "--eval", script]);

/** The packages a built module imports, with their subpaths. */
const imports = /^(?:import|export) (?:[^"=;]* from )?"([^."][^"]*)"/gm;

/** Expects success, and shows what was said if there was none. */
const expectClean = ({ code, out, err }: Awaited<ReturnType<typeof run>>) =>
  expect({ code, said: code === 0 ? "" : `${out}${err}` }).toEqual({ code: 0, said: "" });

describe("the package", () => {
  it("has one version", async () => {
    expect((await json("package.json")).version).toBe(version);
    expect((await json("deno.json")).version).toBe(version);
  });

  it("wants the same versions of what its users bring along, from npm and from JSR", async () => {
    const { peerDependencies } = await json("package.json");
    const { imports } = await json("deno.json");
    for (const [name, range] of Object.entries<string>(peerDependencies)) {
      // What else npm allows is there for the entries that need none of it.
      const [version] = range.split(" || ");
      // Of most, subpaths alone are imported.
      expect([`npm:/${name}@${version}/`, `npm:${name}@${version}`]).toContain(
        imports[`${name}/`] ?? imports[name],
      );
    }
  });

  it("can be published to JSR, with the library and nothing else", async () => {
    const words = ["publish", "--dry-run", "--allow-slow-types", "--allow-dirty", ...unchecked];
    const { code, err } = await run(bin("deno"), words);
    expect({ code, said: code === 0 ? "" : err }).toEqual({ code: 0, said: "" });
    expect(err).toContain("Dry run complete");
    const root = pathToFileURL(project).href;
    const paths = [...err.matchAll(/^ {3}(file:\S+) \(/gm)].map(([, url = ""]) => url.replace(root, ""));
    expect(paths).toEqual(expect.arrayContaining(["README.md", "deno.json", "src/mod.ts", "src/promise.ts"]));
    const others = paths.filter((path) => !/^src\/|^(deno\.json|[A-Z]+(\.md)?)$/.test(path));
    expect(others).toEqual([]);
  });

  it("names the same modules to Node and to Deno", async () => {
    const forNode = Object.keys((await json("package.json")).exports).filter((name) =>
      !name.endsWith(".json")
    );
    expect(forNode).toEqual(Object.keys((await json("deno.json")).exports));
  });

  it("exports what the source does", async () => {
    const sources = {
      "monocloud-sessions": mod,
      "monocloud-sessions/promise": promise,
      "monocloud-sessions/sandbox": sandbox,
      "monocloud-sessions/server": server,
      "monocloud-sessions/worker": server,
      "monocloud-sessions/effect/server": serverInEffect,
      "monocloud-sessions/thread": thread,
      "monocloud-sessions/effect/thread": threadInEffect,
      "monocloud-sessions/effect/warehouse": warehouseInEffect,
      "monocloud-sessions/duckdb": duckdb,
      "monocloud-sessions/postgres": postgres,
    };
    const { out, err } = await node(
      `const found = {};
       for (const name of ${
        JSON.stringify(Object.keys(sources))
      }) found[name] = Object.keys(await import(name)).sort();
       console.log(JSON.stringify(found));`,
    );
    expect(err).toBe("");
    expect(JSON.parse(out)).toEqual(
      Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, Object.keys(source).sort()])),
    );
  });

  it("has types beside each of its modules", async () => {
    const { exports } = await json("package.json");
    for (const { types } of Object.values<{ types?: string }>(exports).filter(({ types }) => types)) {
      expect(await readFile(join(project, types!), "utf8")).toContain("export ");
    }
  });

  it("holds what is built and the source, and nothing else", async () => {
    const { out } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"]);
    const [{ files }] = JSON.parse(out);
    const paths: ReadonlyArray<string> = files.map(({ path }: { readonly path: string }) => path);
    expect(paths).toEqual(
      expect.arrayContaining(["package.json", "LICENSE", "dist/cli.js", "dist/mod.js", "dist/mod.d.ts"]),
    );
    const others = paths.filter((path) => !/^(dist|src)\/|^(package\.json|[A-Z]+(\.md)?)$/.test(path));
    expect(others).toEqual([]);
    expect(paths.filter((path) => /test|bench|\.partial$/.test(path))).toEqual([]);
    const command = files.find(({ path }: { readonly path: string }) => path === "dist/cli.js");
    expect(command.mode & 0o111).toBeGreaterThan(0);
  });

  it("has a command that begins with one file, and no encoder in it", async () => {
    const begun = await readFile(join(project, "dist", "cli.js"), "utf8");
    const [, chunk] = /^#!\/usr\/bin\/env node\nimport"\.\/(chunks\/[\w-]+\.js)";\n$/.exec(begun) ?? [];
    const text = await readFile(join(project, "dist", chunk!), "utf8");
    expect([...text.matchAll(/(?:from|import)"\.[^"]*"/g)].map(([words]) => words)).toEqual([]);
    expect(["PAR1", "quoted_match"].filter((word) => text.includes(word))).toEqual([]);
  });

  it("imports nothing that a consumer has not installed", async () => {
    const { dependencies, peerDependencies } = await json("package.json");
    const allowed = Object.keys({ ...dependencies, ...peerDependencies });
    const entries = await readdir(join(project, "dist"), { recursive: true });
    const strangers = new Set<string>();
    for (const name of entries.filter((name) => name.endsWith(".js") && !isPart(name))) {
      const text = await readFile(join(project, "dist", name), "utf8");
      for (const [, specifier = ""] of text.matchAll(imports)) {
        const isKnown = specifier.startsWith("node:") ||
          allowed.some((dependency) => specifier === dependency || specifier.startsWith(`${dependency}/`));
        if (!isKnown) strangers.add(`${name}: ${specifier}`);
      }
    }
    expect([...strangers]).toEqual([]);
  });
});

describe("the source", () => {
  it("has examples that run, in doc comments, in the README and in docs", async () => {
    const strict = ["strictAssert.ts", "docs/tenant.ts"].map((name) =>
      `--preload=${join(project, "test", name)}`
    );
    const pages = (await readdir(join(project, "docs"))).filter((name) => name.endsWith(".md"));
    const modules = (await readdir(join(project, "src"), { recursive: true })).filter((name) =>
      name.endsWith(".ts")
    );
    const withExamples = await Promise.all(
      modules.sort().map(async (name) => {
        const path = `src/${name}`;
        return (await readFile(join(project, path), "utf8")).includes(" * ```ts") ? [path] : [];
      }),
    );
    const where = ["README.md", ...pages.map((name) => `docs/${name}`), ...oneIn(8, withExamples.flat())].map(
      (path) => join(project, path),
    );
    // Some write files, as their reader would.
    const finished = await start(
      bin("deno"),
      [
        "test",
        "--doc",
        "--allow-all",
        ...unchecked,
        ...strict,
        "--config",
        join(project, "deno.json"),
        ...where,
      ],
      { cwd: await newFolder(), env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" } },
    ).done;
    expectClean(finished);
    for (const page of ["README.md", "library.md", "privacy.md", "sandbox.md", "server.md"]) {
      expect(finished.out).toContain(page);
    }
    expect(finished.out).toMatch(/ok \| \d{2,} passed/);
  }, 240_000);
});
