import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { project, start } from "../cli/command.ts";
import { newFolder } from "../folders.ts";

/** Lints one module at a path beneath `src`, with the plugin as it is here. */
const lint = async (path: string, code: string) => {
  const root = await newFolder();
  const file = join(root, "src", path);
  await mkdir(dirname(file), { recursive: true });
  await mkdir(join(root, "test"));
  await cp(join(project, "test", "lint"), join(root, "test", "lint"), { recursive: true });
  await writeFile(file, code);
  const rules = { tags: [], include: ["layers/imports"] };
  const config = { lint: { plugins: ["./test/lint/layers.ts"], rules } };
  await writeFile(join(root, "deno.json"), JSON.stringify(config));
  const deno = join(project, "node_modules", ".bin", "deno");
  const { code: exit, out, err } = await start(deno, ["lint", "src"], {
    cwd: root,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).done;
  return { exit, said: `${out}${err}` };
};

const importing = (specifier: string) =>
  `import * as X from ${JSON.stringify(specifier)};\nconsole.log(X);\n`;

describe("the lint refuses", () => {
  it.each([
    [
      "upwards",
      "source/PageWalk.ts",
      importing("../export/Export.ts"),
      "src/source/PageWalk.ts must not import from export",
    ],
    [
      "upwards to the surface",
      "export/Export.ts",
      importing("../mod.ts"),
      "must not import from mod",
    ],
    [
      "upwards from the session",
      "session/Session.ts",
      importing("../api/Tenant.ts"),
      "must not import from api",
    ],
    [
      "upwards to the queue",
      "api/TenantClient.ts",
      importing("../queue/SharedRate.ts"),
      "must not import from queue",
    ],
    [
      "upwards, of types",
      "api/Tenant.ts",
      'import type { X } from "../cli/Users.ts";\nexport type Y = X;\n',
      "must not import from cli",
    ],
    [
      "sideways",
      "format/Csv.ts",
      importing("../api/Tenant.ts"),
      "must not import from api",
    ],
    [
      "sideways by re-export",
      "sink/Web.ts",
      'export { X } from "../source/PageWalk.ts";\n',
      "must not import from source",
    ],
    [
      "sideways by a re-export of all",
      "source/X.ts",
      'export * from "../format/Csv.ts";\n',
      "must not import from format",
    ],
    [
      "upwards in mid-flight",
      "promise.ts",
      'export const x = () => import("./cli/main.ts");\n',
      "must not import from cli",
    ],
    [
      "out of the sandbox",
      "sandbox/Rows.ts",
      importing("../session/Session.ts"),
      "must not import from session",
    ],
    [
      "into the sandbox",
      "api/Tenant.ts",
      importing("../sandbox/mod.ts"),
      "must not import from sandbox",
    ],
    ["out of the source", "session/Session.ts", importing("../folders.ts"), "must not import"],
    [
      "by a way around",
      "format/Csv.ts",
      importing("../format/../api/Tenant.ts"),
      "must not import from api",
    ],
    ["node:", "sink/Web.ts", importing("node:fs"), "src/sink/Web.ts must run without Node"],
    [
      "node: in the surface",
      "promise.ts",
      importing("node:fs/promises"),
      "src/promise.ts must run without Node",
    ],
    [
      "node: in mid-flight",
      "export/Export.ts",
      'export const x = () => import("node:fs");\n',
      "src/export/Export.ts must run without Node",
    ],
    [
      "Node's modules by their bare names",
      "format/Csv.ts",
      importing("fs"),
      "src/format/Csv.ts must run without Node",
    ],
    ["a barrel", "source/X.ts", importing("effect"), "Import a subpath such as effect/Effect"],
    [
      "a barrel of the platform",
      "cli/main.ts",
      importing("@effect/platform"),
      "Import a subpath such as effect/Effect",
    ],
  ])("an import %s", async (_, path, code, message) => {
    const { exit, said } = await lint(path, code);
    expect(said).toContain(message);
    expect(exit).toBe(1);
  });
});

describe("the lint allows", () => {
  it.each([
    ["downwards", "export/Export.ts", importing("../sink/Output.ts")],
    ["within a room", "source/X.ts", importing("./paging/Y.ts")],
    ["of files in the file store", "dataset/X.ts", importing("node:fs")],
    ["of files in the command line", "cli/X.ts", importing("node:process")],
    ["of an Effect module", "source/X.ts", importing("effect/Effect")],
    ["of a package", "format/X.ts", importing("csv-stringify/sync")],
  ])("an import %s", async (_, path, code) => {
    const { exit, said } = await lint(path, code);
    expect({ exit, said: exit === 0 ? "" : said }).toEqual({ exit: 0, said: "" });
  });
});
