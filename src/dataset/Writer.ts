/** Tells who writes to a folder, and whether that process still runs. */
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import process from "node:process";
import * as Schema from "effect/Schema";

/** Who writes, as `lock.json` says it. */
export const Writer = Schema.Struct({
  id: Schema.String,
  /** For people: two containers may have one name. */
  host: Schema.String,
  pid: Schema.Int,
  /** The boot of the system that runs the process, a random id. */
  boot: Schema.optional(Schema.String),
  /** The namespaces in which its number and its beginning mean something. */
  namespaces: Schema.optional(Schema.String),
  /** When the process began, as its system tells it, so that another one with its number is not taken for it. */
  process: Schema.optional(Schema.String),
  /** True if the system holds a lock on the file for as long as the process has it open. */
  locked: Schema.optional(Schema.Boolean),
  since: Schema.String,
  /** Changes with each heartbeat. Version 0.1 changed the time of the file alone. */
  beat: Schema.optional(Schema.String),
});

export type Writer = typeof Writer.Type;

export const decode = Schema.decodeUnknownOption(Schema.parseJson(Writer));

/**
 * Deno would want permissions for each look at a process, and for the name of the host. Its writers hold a lock of the system
 * instead; where that can't tell, the heartbeat does.
 */
const canAsk = !("Deno" in globalThis);

/** A process, and where its number means something. */
export type Place = Pick<Writer, "host" | "pid" | "boot" | "namespaces" | "process">;

const textAt = (path: string): Promise<string | undefined> =>
  readFile(path, "utf8").then((text) => text.trim(), () => undefined);

const linkAt = (path: string): Promise<string | undefined> => readlink(path).catch(() => undefined);

/** The state and the beginning of a process, fields 3 and 22 of `/proc/PID/stat`; undefined where nothing tells. */
const statOf = async (pid: number | "self") => {
  const text = await textAt(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The second field is the name of the program, which may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0], began: fields[19] };
};

/** Tell which process this is. What is left out its system does not tell. */
export const self = async (): Promise<Place> => {
  const { pid } = process;
  if (!canAsk) return { host: "", pid };
  const host = hostname();
  // In a container that has a /proc of another one, its numbers are of other processes.
  if (await linkAt("/proc/self") !== String(pid)) return { host, pid };
  const boot = await textAt("/proc/sys/kernel/random/boot_id");
  const spaces = [await linkAt("/proc/self/ns/pid"), await linkAt("/proc/self/ns/time")];
  const stat = await statOf("self");
  if (boot === undefined || spaces[0] === undefined || stat?.began === undefined) return { host, pid };
  return {
    host,
    pid,
    boot,
    namespaces: spaces.filter((name) => name !== undefined).join(" "),
    process: stat.began,
  };
};

/**
 * Tell whether a writer still runs; undefined where that can't be asked from here: it is of another boot of a system (another
 * host, above all), of another pid namespace (another container), or nothing says of which.
 *
 * A namespace's number is given to another one only when its last process is gone, so that a writer that seems to be of this
 * one and is not runs no more.
 */
export const isRunning = async (writer: Place, own: Place): Promise<boolean | undefined> => {
  if (own.boot === undefined || writer.boot !== own.boot || writer.namespaces !== own.namespaces) {
    return undefined;
  }
  try {
    process.kill(writer.pid, 0);
  } catch (error) {
    // Without the right to ask, it may well be running.
    if ((error as { readonly code?: unknown }).code === "ESRCH") return false;
  }
  const stat = await statOf(writer.pid);
  if (stat === undefined) return true;
  // A process that was killed stays as a zombie for as long as nobody asks for its exit code.
  return stat.began === writer.process && stat.state !== "Z" && stat.state !== "X";
};
