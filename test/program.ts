/** Programs of tests as processes of their own, under the runtime that runs the tests. */
import { symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type CommandOptions, preloading, project, type Running, start } from "./cli/command.ts";
import { newFolder } from "./folders.ts";
import { onDeno } from "./runtime.ts";

/** Bundle a module for Node with the libraries that it uses, as the command is, beside the project's packages. */
const bundle = async (source: string): Promise<string> => {
  const folder = await newFolder();
  const built = join(folder, basename(source).replace(/\.ts$/, ".mjs"));
  await build({
    entryPoints: [source],
    outfile: built,
    bundle: true,
    platform: "node",
    format: "esm",
    external: ["pg", "pg-copy-streams", "bullmq", "ioredis", "@duckdb/node-api"],
    // Modules of CommonJS ask for those of Node.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    define: { __filename: "undefined" },
    logLevel: "error",
  });
  await symlink(join(project, "node_modules"), join(folder, "node_modules"));
  return built;
};

/** Make a module ready to run. What it gives starts a process of it, with these words. */
export const program = async (
  module: URL,
): Promise<(words: ReadonlyArray<string>, options?: CommandOptions) => Running> => {
  const source = fileURLToPath(module);
  const [before, path] = onDeno ? [["run", "--allow-all"], source] : [[], await bundle(source)];
  return (words, options) =>
    start(process.execPath, [...before, ...preloading(options), path, ...words], options);
};
