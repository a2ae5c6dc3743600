/** Every entry on every runtime, through every bundler, compiler and package manager: `npm run test:long`. */
import { spawn } from "node:child_process";
import { cp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import {
  here,
  inEffect,
  install,
  makeProject,
  newProject,
  pack,
  plain,
  project,
  run,
  succeed,
  tryEntries,
} from "./consumer.ts";
import { fetchTools } from "./tools.ts";
import { chromiumPath, hasChromium } from "../programs.ts";
import { isLong } from "../size.ts";

const tools = isLong ? await fetchTools() : undefined;
const names = <A extends string>(of: Readonly<Record<A, unknown>> | undefined): ReadonlyArray<A> =>
  of === undefined ? [] : Object.keys(of) as Array<A>;

const { devDependencies } = JSON.parse(await readFile(join(project, "package.json"), "utf8"));

/** What a project has beside us. */
const beside = {
  "no Effect": [],
  "Effect 3": ["effect", "@effect/platform", "undici"].map((name) => `${name}@${devDependencies[name]}`),
  "Effect 4": ["effect@4.1.0", "undici@8.13.1"],
};

const table = new Map<string, Record<string, string>>();
const note = (row: string, column: string, result: string) => {
  table.set(row, { ...table.get(row), [column]: result });
};

let tarball = "";

beforeAll(async () => {
  if (tools === undefined) return;
  tarball = await pack();
  return () => rm(dirname(tarball), { recursive: true, force: true });
}, 600_000);

afterAll(() => {
  if (tools !== undefined) console.table(Object.fromEntries(table));
});

const types = `@types/node@${devDependencies["@types/node"]}`;

/** Make a project with the package installed from npm. */
const installed = async (packages: ReadonlyArray<string>): Promise<string> => {
  const folder = await newProject();
  await install(folder, [tarball, types, ...packages]);
  return folder;
};

/** Count the packages of a project, and their MB. */
const weigh = async (folder: string) => {
  const entries = await readdir(join(folder, "node_modules"), { recursive: true });
  const sizes = await Promise.all(entries.map(async (name) => {
    const found = await stat(join(folder, "node_modules", name));
    return found.isFile() ? Math.ceil(found.size / 4096) * 4096 : 0;
  }));
  const packages = entries.filter((name) =>
    /^(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^@./][^/]*\/package\.json$/.test(name)
  );
  return { packages: packages.length, MB: Math.round(sizes.reduce((sum, size) => sum + size, 0) / 1e6) };
};

describe.skipIf(tools === undefined)("the matrix", { timeout: 600_000 }, () => {
  describe.each(Object.entries(beside))("beside %s", (name, packages) => {
    const isThree = name === "Effect 3";
    let folder = "";
    beforeAll(async () => {
      folder = await makeProject();
      await cp(join(here, "types"), join(folder, "types"), { recursive: true });
      await install(folder, [tarball, types, ...packages]);
    }, 300_000);
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it.each(names(tools?.runtimes))("%s", async (runtime) => {
      const wanted = { ...plain, ...isThree && inEffect };
      const all = [...Object.keys(plain), ...Object.keys(inEffect)].filter((name) =>
        name !== "effect/server"
      );
      const found = await tryEntries(tools!.runtimes[runtime], folder, isThree ? Object.keys(wanted) : all);
      for (const [entry, result] of Object.entries(found)) {
        note(`${runtime}, ${name}`, entry, Array.isArray(result) ? "works" : "says what it needs");
      }
      const { effect, "effect/thread": thread, "effect/warehouse": warehouse, undici, ...rest } = found;
      expect(isThree ? found : rest).toEqual(wanted);
      if (isThree) return;
      for (const said of [effect, thread, warehouse, undici]) {
        expect(said).toMatch(/ERR_MODULE_NOT_FOUND .*needsEffect3\.js/);
      }
    });

    it.each(names(tools?.compilers).flatMap((name) => [[name, "nodenext"], [name, "bundler"]] as const))(
      "%s finds no fault, with --moduleResolution %s",
      async (compiler, resolution) => {
        const [program, script] = tools!.compilers[compiler];
        const flags =
          "--noEmit --strict --exactOptionalPropertyTypes --target es2022 --lib es2023 --types node";
        const where = [
          "--module",
          resolution === "bundler" ? "esnext" : resolution,
          "--moduleResolution",
          resolution,
        ];
        const files = ["types/plain.ts", ...isThree ? ["types/effect.ts"] : []];
        const args = [script, ...flags.split(" "), ...where, "--skipLibCheck", "false", ...files];
        const { code, out } = await run(program, args, { cwd: folder });
        note(`${compiler}, ${name}`, resolution, code === 0 ? "works" : "fails");
        expect(out).toBe("");
      },
    );
  });

  describe("package managers", () => {
    const entries = Object.keys(plain);

    it("pnpm", async () => {
      const folder = await newProject({ "monocloud-sessions": `file:${tarball}` });
      const [program] = tools!.pnpm;
      await succeed(program!, ["install", "--store-dir", join(folder, "store")], { cwd: folder });
      expect(await tryEntries(tools!.runtimes["Node 20"], folder, entries)).toEqual(plain);
      note("pnpm", "plain entries", "work");
    });

    it.each(["Node 20", "Node 24"] as const)("Yarn PnP, on %s", async (runtime) => {
      const folder = await newProject({ "monocloud-sessions": `file:${tarball}` });
      const [node = ""] = tools!.runtimes[runtime];
      const [, yarn = ""] = tools!.yarn;
      await succeed(node, [yarn, "install"], { cwd: folder, env: tools!.yarnEnvironment });
      const args = [yarn, "node", "trial.mjs", ...entries];
      // What `yarn node` runs is the first on the path.
      const path = `${dirname(node)}:${process.env["PATH"]}`;
      const { out } = await run(node, args, { cwd: folder, env: { ...tools!.yarnEnvironment, PATH: path } });
      const lines = out.split("\n").filter((line) => line.startsWith('["')).map((line) => JSON.parse(line));
      expect(lines.length > 0 ? Object.fromEntries(lines) : out).toEqual(plain);
      note(`Yarn PnP, ${runtime}`, "plain entries", "work");
    });
  });

  describe("bundlers", () => {
    /** Make a project with what is to be bundled, and no Effect nor telemetry. */
    const toBundle = async () => {
      const folder = await installed([]);
      await cp(join(here, "bundled"), folder, { recursive: true });
      return folder;
    };

    /** Run a bundle where the package is not. */
    const runAlone = async (folder: string) => {
      const alone = await newProject();
      await cp(join(folder, "out"), join(alone, "out"), { recursive: true });
      const { out } = await run(process.execPath, [join("out", "program.mjs")], { cwd: alone });
      return out.trim();
    };

    const webpack = async (folder: string, config: object) => {
      const script = `require(${JSON.stringify(tools!.webpack)})(${
        JSON.stringify(config)
      }, (error, stats) => {
        const said = error ?? stats.toString({ all: false, errors: true });
        if (said) { console.error(String(said)); process.exit(1); }
      });`;
      await succeed(process.execPath, ["--input-type=commonjs", "--eval", script], { cwd: folder });
    };

    it("esbuild, for Node", async () => {
      const folder = await toBundle();
      await build({
        absWorkingDir: folder,
        entryPoints: { program: "program.mjs", worker: "worker.mjs" },
        ...{ bundle: true, splitting: true, platform: "node", format: "esm", logLevel: "silent" },
        ...{ outdir: "out", outExtension: { ".js": ".mjs" } },
      });
      expect(await runAlone(folder)).toBe("[30,true,10]");
      note("esbuild", "Node", "works");
    });

    it("webpack, for Node", async () => {
      const folder = await toBundle();
      await webpack(folder, {
        ...{ context: folder, mode: "production", target: "node20", entry: { program: "./program.mjs" } },
        experiments: { outputModule: true },
        optimization: { minimize: false },
        output: { path: join(folder, "out"), module: true, chunkFormat: "module", filename: "[name].mjs" },
      });
      expect(await runAlone(folder)).toBe("[30,true,10]");
      note("webpack", "Node", "works");
    });

    if (isLong && !hasChromium) console.log(`Skipped, as there is no ${chromiumPath}: bundles in Chromium`);

    /** Open a page of a bundle in Chromium, served beside a tenant; gives what it got. */
    const inChromium = async (folder: string): Promise<unknown> => {
      const sandbox = make({ users: 3, sessionsPerUser: 10 });
      const server = createServer(async ({ url: path = "/", headers }, response) => {
        if (path.startsWith("/api/")) {
          const authorization = { "x-api-key": String(headers["x-api-key"] ?? "") };
          const asked = new Request(new URL(path, "http://localhost"), { headers: authorization });
          const answer = await sandbox.fetch(asked);
          response.writeHead(answer.status, Object.fromEntries(answer.headers));
          return response.end(new Uint8Array(await answer.arrayBuffer()));
        }
        const name = path === "/" ? "index.html" : path;
        const body = await readFile(join(folder, "out", name), "utf8").catch(() => undefined);
        const type = name.endsWith(".html") ? "text/html" : "text/javascript";
        response.writeHead(body === undefined ? 404 : 200, { "content-type": type }).end(body);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void server.close());
      const browser = await chromium.launch({
        executablePath: chromiumPath,
        args: ["--no-sandbox", "--disable-gpu"],
      });
      onTestFinished(() => browser.close());
      const page = await browser.newPage();
      await page.addInitScript((key) => Object.assign(globalThis, { apiKey: key }), sandbox.key);
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await page.waitForFunction(() => "result" in globalThis);
      return await page.evaluate(() => (globalThis as unknown as { result: Promise<unknown> }).result);
    };

    const html = (script: string) => `<!doctype html><script type="module" src="${script}"></script>`;
    const wanted = [30, 10_951, expect.any(Number)];

    it.skipIf(!hasChromium)("esbuild, for browsers, in Chromium", async () => {
      const folder = await toBundle();
      await build({
        absWorkingDir: folder,
        entryPoints: { page: "page.mjs", worker: "worker.mjs" },
        ...{ bundle: true, splitting: true, format: "esm", outdir: "out", logLevel: "silent" },
      });
      await writeFile(join(folder, "out", "index.html"), html("/page.js"));
      expect(await inChromium(folder)).toEqual(wanted);
      note("esbuild", "Chromium", "works");
    });

    it.skipIf(!hasChromium)("Vite, in Chromium", async () => {
      const folder = await toBundle();
      await writeFile(join(folder, "index.html"), html("./page.mjs"));
      await writeFile(join(folder, "vite.config.mjs"), `export default { worker: { format: "es" } };`);
      await succeed(process.execPath, [tools!.vite, "build", "--outDir", "out"], { cwd: folder });
      expect(await inChromium(folder)).toEqual(wanted);
      note("Vite", "Chromium", "works");
    });

    it.skipIf(!hasChromium)("webpack, for browsers, in Chromium", async () => {
      const folder = await toBundle();
      await webpack(folder, {
        ...{ context: folder, mode: "production", target: "web", entry: "./page.mjs" },
        optimization: { minimize: false },
        output: { path: join(folder, "out"), filename: "page.js", publicPath: "auto" },
      });
      await writeFile(join(folder, "out", "index.html"), html("/page.js"));
      expect(await inChromium(folder)).toEqual(wanted);
      note("webpack", "Chromium", "works");
    });

    it("esbuild, for Cloudflare's workerd", async () => {
      const folder = await toBundle();
      await build({
        absWorkingDir: folder,
        entryPoints: ["cloudflare.mjs"],
        ...{ bundle: true, format: "esm", platform: "neutral", outfile: "out/worker.js", logLevel: "silent" },
        ...{ mainFields: ["module", "main"], conditions: ["workerd", "worker", "browser"] },
        external: ["node:*"],
      });
      await writeFile(
        join(folder, "config.capnp"),
        `using Workerd = import "/workerd/workerd.capnp";
        const config :Workerd.Config = (
          services = [(name = "main", worker = (
            modules = [(name = "worker", esModule = embed "out/worker.js")],
            compatibilityDate = "2026-08-01", compatibilityFlags = ["nodejs_compat"]
          ))],
          sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
        );`,
      );
      // It says on the third descriptor where it listens.
      const child = spawn(tools!.workerd, ["serve", "--control-fd=3", "config.capnp"], {
        cwd: folder,
        stdio: ["ignore", "ignore", "inherit", "pipe"],
      });
      onTestFinished(() => void child.kill());
      const port = await new Promise<number>((resolve, reject) => {
        child.once("exit", () => reject(new Error("workerd ended")));
        child.stdio[3]!.on("data", (line) => {
          const { event, port } = JSON.parse(String(line).split("\n")[0]!);
          if (event === "listen") resolve(port);
        });
      });
      const got: Record<string, number> = {};
      for (const what of ["sessions", "ndjson", "csv", "parquet", "worker"]) {
        const answer = await fetch(`http://127.0.0.1:${port}/${what}`);
        got[what] = Number(await answer.clone().text());
        if (answer.status !== 200) throw new Error(await answer.text());
        note("workerd", what, "works");
      }
      expect(got).toEqual({
        sessions: 30,
        ndjson: expect.any(Number),
        csv: 10_951,
        parquet: expect.any(Number),
        worker: 10,
      });
    });
  });

  it("weighs less than octokit", async () => {
    const weights: Record<string, { readonly packages: number; readonly MB: number }> = {};
    for (
      const [name, packages] of [
        ["monocloud-sessions", [tarball]],
        ["… with Effect 3", [tarball, ...beside["Effect 3"]]],
        ["octokit", ["octokit@5.0.5"]],
      ] as const
    ) {
      const folder = await newProject();
      await install(folder, packages);
      weights[name] = await weigh(folder);
    }
    console.table(weights);
    expect(weights["monocloud-sessions"]!.packages).toBeLessThan(weights["octokit"]!.packages);
    expect(weights["monocloud-sessions"]!.MB).toBeLessThan(weights["octokit"]!.MB);
  });
});
