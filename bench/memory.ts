/**
 * Whether memory stays flat: the peak of an export to all three formats at once, of 100,000 sessions and of 1,000,000,
 * side by side.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand, startSandbox } from "./processes.ts";

const SESSIONS_A_USER = 1000;

const measure = async (sessions: number) => {
  const users = String(sessions / SESSIONS_A_USER);
  const sandbox = await startSandbox(["--users", users, "--sessions", String(SESSIONS_A_USER), "--exactly"]);
  const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));
  try {
    const run = await runCommand(
      [
        "export",
        "--all-users",
        "--out",
        join(folder, "out"),
        "--format",
        "ndjson,csv,parquet",
        "--rate",
        "100000/s",
      ],
      sandbox.environment,
    );
    if (run.code !== 0) throw new Error(`The export ended with code ${run.code}`);
    if (run.peakBytes === undefined) {
      throw new Error("This system does not tell the peak memory of a process");
    }
    return { sessions, "peak MB": Math.round(run.peakBytes / 1e6), seconds: Math.round(run.seconds) };
  } finally {
    sandbox.stop();
    await rm(folder, { recursive: true });
  }
};

const few = await measure(100_000);
const many = await measure(1_000_000);
console.table([few, many]);
console.log(`Ten times the sessions take ${(many["peak MB"] / few["peak MB"]).toFixed(2)} times the memory.`);
