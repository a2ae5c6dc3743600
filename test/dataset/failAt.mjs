/**
 * Loaded into the command by `node --import`: the n-th call of a kind that changes the disk fails, as `FAIL_CALL` (a name
 * below), `FAIL_AT` and `FAIL_CODE` say; with `FAIL_HALF` a write that fails has written half of its bytes. Without `FAIL_AT` it
 * counts the calls, and says how many there were of each.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import process from "node:process";

const { FAIL_CALL, FAIL_AT, FAIL_CODE = "EIO", FAIL_HALF } = process.env;
/** @type {Record<string, number>} */
const calls = {};

const failure = (call) => Object.assign(new Error(`${FAIL_CODE}: injected, ${call}`), { code: FAIL_CODE });

/** @param {Record<string, any>} target @param {string} name @param {(self: any) => Promise<string> | string} callOf */
const guard = (target, name, callOf = () => name) => {
  const original = target[name];
  target[name] = async function (...args) {
    const call = await callOf(this);
    calls[call] = (calls[call] ?? 0) + 1;
    if (call !== FAIL_CALL || calls[call] !== Number(FAIL_AT)) return original.apply(this, args);
    if (FAIL_HALF !== undefined && ArrayBuffer.isView(args[0])) {
      await original.call(this, args[0].subarray(0, args[0].byteLength >> 1));
    }
    throw failure(call);
  };
};

for (const name of ["rename", "rm", "link", "mkdir"]) guard(fs.promises, name);
const handle = await fs.promises.open(new URL(import.meta.url), "r");
guard(fs.promises, "open");
const prototype = Object.getPrototypeOf(handle);
for (const name of ["writeFile", "appendFile"]) guard(prototype, name, () => "write");
guard(
  prototype,
  "sync",
  async (self) => (await self.stat()).isDirectory() ? "sync of a folder" : "sync of a file",
);
await handle.close();
guard(prototype, "close");
syncBuiltinESMExports();

process.on("exit", () => {
  if (FAIL_AT === undefined) process.stderr.write(`calls ${JSON.stringify(calls)}\n`);
});
