/** Projects that use the package as others get it: the tarball of `npm pack`, unpacked or installed. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { project } from "../cli/command.ts";

export { project };

/** This folder. */
export const here = fileURLToPath(new URL(".", import.meta.url));

/** What a program left behind. */
export interface Finished {
  readonly code: number;
  readonly out: string;
}

/** Run a program; its output is what it said on either stream. */
export const run = (
  program: string,
  args: ReadonlyArray<string>,
  { cwd, env }: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<Finished> =>
  new Promise((resolve) => {
    const options = {
      cwd,
      env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, DENO_NO_UPDATE_CHECK: "1", ...env },
      maxBuffer: 1 << 26,
      timeout: 300_000,
    };
    execFile(program, args, options, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      resolve({ code, out: `${out}${err}` });
    });
  });

/** Run a program that must succeed. */
export const succeed = async (...given: Parameters<typeof run>): Promise<string> => {
  const { code, out } = await run(...given);
  if (code !== 0) throw new Error(`${given[0]} ${given[1].join(" ")} ended with ${code}:\n${out}`);
  return out;
};

const npm = process.platform === "win32" ? "npm.cmd" : "npm";

/** Pack what is built; gives the path of the tarball, in a folder of its own. */
export const pack = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));
  await succeed(npm, ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: project });
  const { name, version } = JSON.parse(await readFile(join(project, "package.json"), "utf8"));
  return join(folder, `${name}-${version}.tgz`);
};

/** Make a folder with the program that uses each entry. */
export const makeProject = async (dependencies: Readonly<Record<string, string>> = {}): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));
  const description = { name: "consumer", private: true, type: "module", dependencies };
  await writeFile(join(folder, "package.json"), JSON.stringify(description));
  await cp(join(here, "trial.mjs"), join(folder, "trial.mjs"));
  return folder;
};

/** Make a folder likewise, gone when the test is over. */
export const newProject = async (dependencies?: Readonly<Record<string, string>>): Promise<string> => {
  const folder = await makeProject(dependencies);
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

/** Put the tarball into a new project without a network, beside packages that this project has. */
export const unpacked = async (tarball: string, beside: ReadonlyArray<string> = []): Promise<string> => {
  const folder = await newProject();
  const target = join(folder, "node_modules", "monocloud-sessions");
  await mkdir(target, { recursive: true });
  await succeed("tar", ["-xzf", tarball, "-C", target, "--strip-components=1"], { cwd: folder });
  const { dependencies } = JSON.parse(await readFile(join(target, "package.json"), "utf8"));
  for (const name of [...Object.keys(dependencies), ...beside]) {
    const link = join(folder, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(project, "node_modules", name), link);
  }
  return folder;
};

/** Install packages from npm. */
export const install = (folder: string, packages: ReadonlyArray<string>): Promise<string> =>
  succeed(npm, ["install", "--no-audit", "--no-fund", "--save-exact", ...packages], { cwd: folder });

/** Use each of these entries, and give what came of each. */
export const tryEntries = async (
  [program = "", ...args]: ReadonlyArray<string>,
  folder: string,
  entries: ReadonlyArray<string>,
): Promise<Readonly<Record<string, unknown>>> => {
  const { out } = await run(program, [...args, "trial.mjs", ...entries], { cwd: folder });
  const lines = out.split("\n").filter((line) => line.startsWith('["'));
  // What was said instead, if a program ended early.
  return lines.length === entries.length
    ? Object.fromEntries(lines.map((line) => JSON.parse(line)))
    : { said: out };
};

/** What comes of entries that hold all they need. */
export const plain = {
  promise: [30, true, 30, true],
  thread: [true, 30, true, "ApiError"],
  server: [200, 10, 200],
  worker: ["done"],
  sandbox: [true],
  // The packages of databases are not there.
  duckdb: ["Missing", true],
  postgres: ["Missing", true],
};

/** What comes of entries that are typed with Effect, beside Effect 3. */
export const inEffect = {
  "effect": [30],
  "effect/thread": [30],
  "effect/warehouse": ["Missing", true],
  "effect/server": ["Api", "Job", "Server", "Settings"],
  "undici": ["layer", "ofDispatcher"],
};
