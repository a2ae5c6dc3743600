/**
 * Loaded into the command by `node --import` or `deno run --preload`: kills the process at the n-th call of DuckDB within a
 * transaction, or outside of one, before it or while it is done. It tells where. `KILL_AT_STATEMENT` counts only calls that
 * begin so, and with `KILL_SIGNAL=SIGSTOP` the process goes on once it is let. It tells of calls that begin with
 * `TELL_STATEMENT`, and at the end how many there were.
 */
import fs from "node:fs";
import process from "node:process";
import { DuckDBConnection } from "@duckdb/node-api";

const at = Number(process.env.KILL_AT ?? Infinity);
const where = process.env.KILL_WHERE ?? "inside";
const how = process.env.KILL_HOW ?? "before";
const begins = process.env.KILL_AT_STATEMENT ?? "";
const told = process.env.TELL_STATEMENT;
const signal = process.env.KILL_SIGNAL ?? "SIGKILL";
const calls = { inside: 0, outside: 0 };
let isInside = false;

/** @param {string} what */
const die = (what) => {
  fs.writeSync(2, `\nKilled ${how} ${what}, ${where} a transaction\n`);
  process.kill(process.pid, signal);
  return signal === "SIGKILL" ? new Promise(() => {}) : undefined;
};

for (const name of /** @type {const} */ (["run", "runAndReadAll", "createAppender"])) {
  const original = DuckDBConnection.prototype[name];
  DuckDBConnection.prototype[name] = async function (statement, ...rest) {
    const now = isInside ? "inside" : "outside";
    const call = () => original.call(this, statement, ...rest);
    if (told !== undefined && statement.startsWith(told)) fs.writeSync(2, `\n${told}\n`);
    const isCounted = statement.startsWith(begins);
    if (isCounted && ++calls[now] === at && now === where) {
      const what = `${statement}`.split(" ", 3).join(" ");
      if (how === "before") await die(what);
      else {
        setTimeout(() => die(what), 1);
        await call().catch(() => {});
        await new Promise(() => {});
      }
    }
    const result = await call();
    if (statement.startsWith("BEGIN")) isInside = true;
    if (statement === "COMMIT" || statement === "ROLLBACK") isInside = false;
    return result;
  };
}

process.on("exit", () => fs.writeSync(2, `\n${calls.inside} calls inside, ${calls.outside} outside\n`));
