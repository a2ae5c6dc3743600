/**
 * Loaded into the command by `node --import` or `deno run --preload`: kills the process at the n-th change it makes to the
 * file system, before it, after it, or with half of the bytes written. `KILL_HOW=interrupt` sends it a SIGINT instead, and
 * the change waits until that was handled. Without `KILL_AT` it counts the changes, and says how many there were.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import process from "node:process";

const at = Number(process.env.KILL_AT ?? Infinity);
const how = process.env.KILL_HOW ?? "before";
let changes = 0;

const die = () => {
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => {});
};

/** @param {Record<string, any>} target @param {string} name @param {(...args: any[]) => boolean} [isChange] */
const guard = (target, name, isChange = () => true) => {
  const original = target[name];
  target[name] = async function (...args) {
    if (!isChange(...args) || ++changes !== at) return original.apply(this, args);
    if (how === "interrupt") {
      process.kill(process.pid, "SIGINT");
      await new Promise((resume) => setTimeout(resume, 50));
      return original.apply(this, args);
    }
    if (how === "half" && ArrayBuffer.isView(args[0])) {
      await original.call(this, args[0].subarray(0, args[0].byteLength >> 1));
    } else if (how === "after") await original.apply(this, args);
    return die();
  };
};

for (const name of ["rename", "rm", "rmdir", "link", "truncate", "mkdir", "writeFile"]) {
  guard(fs.promises, name);
}
guard(fs.promises, "open", (_, flags) => flags !== undefined && flags !== "r");
const handle = await fs.promises.open(new URL(import.meta.url), "r");
for (const name of ["writeFile", "appendFile", "sync", "truncate"]) {
  guard(Object.getPrototypeOf(handle), name);
}
await handle.close();
syncBuiltinESMExports();

process.on("exit", () => {
  if (at === Infinity) process.stderr.write(`${changes} changes\n`);
});
