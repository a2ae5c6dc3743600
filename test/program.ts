/** Programs of tests as processes of their own, under the runtime that runs the tests. */
import { symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type CommandOptions, project, type Running, start } from "./cli/command.ts";
import { newFolder } from "./folders.ts";
import { onDeno } from "./runtime.ts";

/**
 * Make a module ready to run: for Node in one file with the libraries that it uses, as the command is, which is read in a
 * third of the time. What it gives starts a process of it, with these words.
 */
export const program = async (
  module: URL,
): Promise<(words: ReadonlyArray<string>, options?: CommandOptions) => Running> => {
  const source = fileURLToPath(module);
  if (onDeno) {
    return (words, options) =>
      start(process.execPath, [
        ...["run", "--allow-all"],
        ...options?.preload === undefined ? [] : ["--preload", options.preload.href],
        ...[source, ...words],
      ], options);
  }
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
  return (words, options) =>
    start(process.execPath, [
      ...options?.preload === undefined ? [] : ["--import", options.preload.href],
      ...[built, ...words],
    ], options);
};
