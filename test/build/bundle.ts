/**
 * Bundles what must not need its user's Effect: the command, and the entries typed with promises. `npm run build` runs it
 * after `tsc`, whose modules of the same names it replaces; the types beside them stay. The command is a bundle of its own, to
 * start fast.
 *
 * It lives with the tests for want of a better place: `src` is published, and the top level holds nothing of ours.
 *
 * @module
 */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, type BuildOptions, type ImportKind, type Metafile, type Plugin } from "esbuild";

const project = fileURLToPath(new URL("../..", import.meta.url));

const command = "src/cli/main.ts";

/** The page of the API: two megabytes of text, without imports. */
const page = "node_modules/@effect/platform/dist/esm/internal/httpApiSwagger.js";

const entries = {
  "chunks/page": page,
  "promise": "src/promise.ts",
  "server/mod": "src/server/mod.ts",
  "server/serve": "src/server/serve.ts",
  "thread/mod": "src/thread/mod.ts",
  "thread/worker": "src/thread/worker.ts",
  "warehouse/duckdb": "src/warehouse/duckdb.ts",
  "warehouse/postgres": "src/warehouse/postgres.ts",
};

/**
 * Node's own modules, asked for when they are needed. A bundler for browsers finds no import that it can't resolve, and a
 * page that writes no file runs without them. In the command that is what older modules call `require` for.
 */
const builtins = (isAsked: (kind: ImportKind) => boolean): Plugin => ({
  name: "builtins",
  setup: ({ onResolve, onLoad }) => {
    onResolve(
      { filter: /^[a-z]|^node:/ },
      ({ path, kind }) => isBuiltin(path) && isAsked(kind) ? { path, namespace: "builtin" } : undefined,
    );
    onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => {
      const name = JSON.stringify(path.startsWith("node:") ? path : `node:${path}`);
      const missing = JSON.stringify(
        `Cannot load ${path}: this needs Node 20.16, Deno 2 or Bun 1.2, or later`,
      );
      return {
        contents: `const get = globalThis.process?.getBuiltinModule;
          if (get === undefined) throw new Error(${missing});
          module.exports = get(${name});`,
        loader: "js",
      };
    });
  },
});

/** Both bundles load one file with the page. Chunks import it, which are all in one folder. */
const sharedPage: Plugin = {
  name: "shared page",
  setup: ({ onResolve }) => {
    onResolve(
      { filter: /\/httpApiSwagger\.js$/ },
      ({ kind }) => kind === "entry-point" ? undefined : { path: "../chunks/page.js", external: true },
    );
  },
};

/**
 * Whatever the command imports once it runs imports all that it has begun with, too. So that is in one chunk: esbuild makes one
 * of each set of modules that the same imports lead to, which were 48 files to read for `--help`, and each costs a
 * millisecond.
 */
const together: Plugin = {
  name: "together",
  setup: ({ onResolve, onLoad, resolve }) => {
    onResolve({ filter: /.*/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (kind !== "dynamic-import" || pluginData === together) return undefined;
      const found = await resolve(path, { kind, importer, resolveDir, pluginData: together });
      return found.external || found.namespace !== "file" ? found : { path: found.path, namespace: "later" };
    });
    onLoad({ filter: /.*/, namespace: "later" }, ({ path }) => ({
      contents: `import ${JSON.stringify(join(project, command))}; export * from ${JSON.stringify(path)};`,
      resolveDir: project,
    }));
  },
};

/** Name the folders of all packages that a bundle holds something of. */
const packagesIn = ({ outputs }: Metafile): ReadonlyArray<string> => {
  const packages = new Set<string>();
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const [, folder] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
      if (folder !== undefined && bytesInOutput > 0) packages.add(folder);
    }
  }
  return [...packages].sort();
};

/** Read the licence of a package. Whoever gives its code on has to give it on as well. */
const noticeOf = async (folder: string): Promise<string> => {
  const { name, version, license } = JSON.parse(
    await readFile(join(project, folder, "package.json"), "utf8"),
  );
  const file = (await readdir(join(project, folder))).find((name) => /^licen[cs]e/i.test(name));
  if (file === undefined) throw new Error(`Cannot bundle ${name} as it has no licence file`);
  const text = await readFile(join(project, folder, file), "utf8");
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
};

const options = {
  absWorkingDir: project,
  outdir: "dist",
  bundle: true,
  splitting: true,
  // Whoever writes to a database has its package; it is loaded where a run asks for it.
  external: ["pg", "pg-copy-streams", "bullmq", "ioredis", "@duckdb/node-api"],
  minify: true,
  format: "esm",
  platform: "node",
  // Of packages that have one for Node, the one for browsers: it reads no files by itself.
  conditions: ["browser"],
  target: ["es2022", "node20"],
  legalComments: "none",
  // Undici asks whether it is there; webpack would answer for it, and be wrong.
  define: { __filename: "undefined" },
  logLevel: "warning",
  // The check for Effect 3 is of no use where it is held.
  logOverride: { "ignored-bare-import": "silent" },
  metafile: true,
} as const satisfies BuildOptions;

const bundles = [
  await build({
    ...options,
    entryPoints: { cli: command },
    chunkNames: "chunks/command-[name]-[hash]",
    // The command runs where there is a Buffer, and needs none of the package's own.
    alias: { "csv-stringify/browser/esm/sync": "csv-stringify/sync" },
    plugins: [builtins((kind) => kind === "require-call"), sharedPage, together],
  }),
  await build({
    ...options,
    entryPoints: entries,
    chunkNames: "chunks/[name]-[hash]",
    plugins: [builtins(() => true), sharedPage],
  }),
];
for (const name of Object.keys(entries)) await rm(join(project, "dist", `${name}.js.map`), { force: true });
const metafile: Metafile = {
  inputs: Object.assign({}, ...bundles.map(({ metafile }) => metafile.inputs)),
  outputs: Object.assign({}, ...bundles.map(({ metafile }) => metafile.outputs)),
};
const notices = await Promise.all(packagesIn(metafile).map(noticeOf));
// The page of the API is a program of its own inside of a module of the platform, which brings no licence for it.
const apache = await readFile(join(project, "node_modules", "typescript", "LICENSE"), "utf8");
notices.push(
  `swagger-ui, within @effect/platform (Apache-2.0)\nCopyright 2020-2021 SmartBear Software Inc.\n\n${apache.trim()}\n`,
);
await writeFile(
  join(project, "dist", "THIRD_PARTY_LICENSES.txt"),
  `Parts of these packages are in the modules of this folder.\n\n${notices.join(`\n${"-".repeat(80)}\n\n`)}`,
);
if (process.env["METAFILE"] !== undefined) {
  await writeFile(process.env["METAFILE"], JSON.stringify(metafile));
}
