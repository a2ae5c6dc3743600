/** A server's processes and its folder. They end with the process that started them, however that ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { account, runnable } from "./versions.ts";

export interface ClusterOptions {
  /** The folder of `initdb` and `postgres`. */
  readonly bin: string;
  /** Settings as in `postgresql.conf`. @default {{}} */
  readonly settings?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** A server on a port of 127.0.0.1, with a folder of its own. */
export interface Cluster {
  /** Its folder, which goes with {@link remove}. */
  readonly folder: string;
  readonly port: number;
  /** The superuser is `postgres`. */
  readonly password: string;
  /** The process that began all others of the server, while there is one. */
  readonly pid: () => number | undefined;
  /** All that the server has logged. */
  readonly log: () => string;
  /** Starts it again, with the same data on the same port. It recovers if it was killed. */
  readonly start: () => Promise<void>;
  /** Stops it in order: open transactions are rolled back, clients are told. Nothing if it is stopped. */
  readonly stop: () => Promise<void>;
  /** Stops it on the spot, as `pg_ctl stop -m immediate` does: it writes nothing more, and recovers when it starts again. */
  readonly kill: () => Promise<void>;
  /** Kills it and removes its folder. */
  readonly remove: () => Promise<void>;
}

/** Small, and nothing outside of the folder: no socket in /tmp, no memory in /dev/shm. */
const standard = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  dynamic_shared_memory_type: "mmap",
  shared_buffers: "16MB",
  max_connections: 50,
};

/**
 * A watchdog, which reads from a pipe the number of each process that is started. The pipe ends with the process of the tests,
 * even by SIGKILL: then it stops the last process, and removes the folder.
 */
const watchdog = `
pid=
while read -r line; do pid=$line; done
lock="$1/data/postmaster.pid"
[ "$pid" ] && kill -QUIT "$pid"
n=0
while [ "$pid" ] && [ -e "$lock" ] && kill -0 "$pid" && [ $((n += 1)) -le 60 ]; do sleep 0.1; done
[ "$n" -le 60 ] || kill -KILL "$pid"
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
`;

const env = { PATH: "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/** Ports below those that systems give to connections: a server that was down for a while finds its own still free. */
const somePort = () => 20_000 + randomBytes(2).readUInt16LE() % 12_000;

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

const freePort = async (): Promise<number> => {
  while (true) {
    const port = somePort();
    if (await isFree(port)) return port;
  }
};

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

/** Make a new server and start it. */
export const makeCluster = async ({ bin: installed, settings = {} }: ClusterOptions): Promise<Cluster> => {
  const as = account();
  const folder = mkdtempSync(join(tmpdir(), "monocloud-sessions-postgres-"));
  const guard = spawn("sh", ["-c", watchdog, "watchdog", folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    env,
  });
  guard.stdin.on("error", () => {});
  const guarded = new Promise((resolve) => guard.once("close", resolve));
  const own = (path: string) => as.uid === undefined || chownSync(path, as.uid, as.gid!);
  own(folder);
  const data = join(folder, "data");
  const logFile = join(folder, "log");
  const password = randomBytes(12).toString("hex");
  let port = await freePort();
  let server: { readonly child: ChildProcess; readonly ended: Promise<void> } | undefined;

  const log = () => existsSync(logFile) ? readFileSync(logFile, "utf8") : "";

  /** Start one of the programs; what it says goes to the log. */
  const begin = (program: string, args: ReadonlyArray<string>) => {
    const out = openSync(logFile, "a");
    // A signal to the whole group, as Ctrl-C sends, is left to the watchdog: to kill a server leaves memory that it shared.
    const child = spawn(program, args, {
      ...as,
      cwd: folder,
      env,
      detached: true,
      stdio: ["ignore", out, out],
    });
    closeSync(out);
    guard.stdin.write(`${child.pid}\n`);
    const ended = new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", () => {
        guard.stdin.write("\n");
        resolve();
      });
    });
    return { child, ended };
  };

  /** Whether the server says that it takes connections: the eighth line of the file that it keeps, as `pg_ctl` reads it. */
  const isReady = ({ pid }: ChildProcess) => {
    const lock = join(data, "postmaster.pid");
    const lines = existsSync(lock) ? readFileSync(lock, "utf8").split("\n") : [];
    return lines[0] === `${pid}` && lines[7]?.trim() === "ready";
  };

  const start = async () => {
    if (server !== undefined) throw new Error("Cannot start a server that runs");
    const given = { ...standard, ...settings, port };
    const args = Object.entries(given).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const already = log().length;
    const begun = begin(join(bin, "postgres"), ["-D", data, ...args]);
    server = begun;
    const limit = Date.now() + 30_000;
    while (!isReady(begun.child)) {
      if (hasEnded(begun.child) || Date.now() > limit) {
        await end("SIGQUIT");
        throw new Error(`PostgreSQL did not start:\n${log().slice(already)}`);
      }
      await Promise.race([begun.ended, new Promise((resume) => setTimeout(resume, 10))]);
    }
  };

  const end = async (signal: "SIGINT" | "SIGQUIT") => {
    if (server === undefined) return;
    const { child, ended } = server;
    // Not by `child.kill`, after which Deno takes the child to have ended.
    if (!hasEnded(child)) process.kill(child.pid!, signal);
    await ended;
    server = undefined;
  };

  const remove = async () => {
    await end("SIGQUIT");
    guard.stdin.end();
    await guarded;
    await rm(folder, { recursive: true, force: true });
  };

  let bin = installed;
  try {
    bin = runnable(installed, as, folder);
    const passwordFile = join(folder, "password");
    writeFileSync(passwordFile, password, { mode: 0o600 });
    own(passwordFile);
    const words = ["--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`];
    const more = ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"];
    const { child, ended } = begin(join(bin, "initdb"), [`--pgdata=${data}`, ...words, ...more]);
    await ended;
    if (child.exitCode !== 0) throw new Error(`initdb made no database:\n${log()}`);
    await rm(passwordFile);
    while (true) {
      try {
        await start();
        break;
      } catch (error) {
        // Another took it meanwhile.
        if (!/Address already in use/.test(String(error))) throw error;
        port = await freePort();
      }
    }
  } catch (error) {
    await remove();
    throw error;
  }

  return {
    folder,
    port,
    password,
    pid: () => server?.child.pid,
    log,
    start,
    stop: () => end("SIGINT"),
    kill: () => end("SIGQUIT"),
    remove,
  };
};
