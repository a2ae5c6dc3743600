import process from "node:process";
import { expect, it } from "vitest";
import { command, start } from "./cli/command.ts";
import { onDeno } from "./runtime.ts";

it("the tests, and the processes they start, run on the runtime that was asked for", async () => {
  const wanted = process.env["TEST_RUNTIME"] ?? "node";
  expect(onDeno ? "deno" : "node").toBe(wanted);
  const { out } = await start(command[0]!, ["--version"]).done;
  expect(out).toMatch(wanted === "deno" ? /^deno 2\./ : /^v\d+\./);
});
