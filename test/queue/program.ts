/** Programs of tests as processes of their own, under the runtime that runs the tests. */
import { symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { project, type Running, start } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";

/** Make a program of `test/queue` ready to run; what it gives starts a process of it, told something as JSON. */
export const program = async (name: string): Promise<(told: unknown) => Running> => {
  const source = join(project, "test", "queue", name);
  if (onDeno) {
    return (told) => start(process.execPath, ["run", "--allow-all", source, JSON.stringify(told)]);
  }
  const folder = await newFolder();
  const built = join(folder, basename(name).replace(".ts", ".mjs"));
  await build({
    entryPoints: [source],
    outfile: built,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
  });
  await symlink(join(project, "node_modules"), join(folder, "node_modules"));
  return (told) => start(process.execPath, [built, JSON.stringify(told)]);
};
