/** Tenants and targets by the names that jobs have for them. */
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import * as Names from "../../src/queue/Names.ts";
import { newFolder } from "../folders.ts";

const asked = async (mode: number, name = "archive") => {
  const targets = await newFolder();
  const path = join(targets, "archive.env");
  await writeFile(path, "MONOCLOUD_TO=/mnt/export\n");
  await chmod(path, mode);
  return Effect.runPromise(Effect.either(Names.target({ tenants: undefined, targets }, name)));
};

it.skipIf(process.platform === "win32")("takes a file that its owner and group alone read", async () => {
  for (const mode of [0o600, 0o400, 0o640, 0o440]) {
    expect(await asked(mode)).toMatchObject({ right: { kind: "folder", root: "/mnt/export" } });
  }
  for (const mode of [0o604, 0o602, 0o601, 0o660, 0o620, 0o644, 0o666]) {
    expect(await asked(mode)).toMatchObject({ left: { message: expect.stringMatching(/chmod 600 it/) } });
  }
});

it("takes names alone", async () => {
  for (const name of ["../archive", "archive.env", "a/b", "/etc/passwd", "", "-a", "a\n", "a".repeat(65)]) {
    expect(await asked(0o600, name)).toMatchObject({
      left: { message: expect.stringMatching(/is no path/) },
    });
  }
});
