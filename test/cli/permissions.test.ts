/** What each command may do under Deno: it runs with these permissions, and with no one of them left out. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import * as UserList from "../../src/source/UserList.ts";
import { make, type Sandbox, serve } from "../../src/sandbox/mod.ts";
import { exportInto } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { beginDeno, type CommandOptions } from "./command.ts";
import { oneIn } from "../size.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";

/** `FOLDER` and `HOST` stand for the folder of a test and for its tenant. */
interface Permissions {
  readonly net?: readonly ["HOST"];
  readonly env?: ReadonlyArray<string>;
  readonly read?: ReadonlyArray<string>;
  readonly write?: ReadonlyArray<string>;
}

const kinds = ["net", "env", "read", "write"] as const;

const flagsOf = (permissions: Permissions, folder: string): ReadonlyArray<string> =>
  kinds.flatMap((kind) => {
    const values = permissions[kind] ?? [];
    const text = values.map((value) => value.replace("HOST", "127.0.0.1").replace("FOLDER", folder)).join();
    return values.length === 0 ? [] : [`--allow-${kind}=${text}`];
  });

/** The same permissions, each time without another one. */
const withoutOne = (permissions: Permissions): ReadonlyArray<readonly [string, Permissions]> =>
  kinds.flatMap((kind) =>
    (permissions[kind] ?? []).map((left) =>
      [`${kind} ${left}`, {
        ...permissions,
        [kind]: (permissions[kind] ?? []).filter((value) => value !== left),
      }] as const
    )
  );

const net = ["HOST"] as const;
const env = ["MONOCLOUD_DOMAIN", "MONOCLOUD_API_KEY"];
const tenantAlone: Permissions = { net, env };
const files: Permissions = { net, env, read: ["FOLDER"], write: ["FOLDER"] };
// A connection that is not permitted is tried again like any other that fails.
const quick = ["--rate", "1000/s", "--max-elapsed", "1s"];
const all = ["export", "--all-users", ...quick];
const toStdout = ["--out", "-", "--format", "ndjson"];
const toFolder = ["--out", "FOLDER", "--format", "ndjson,csv,parquet"];

interface Case {
  readonly what: string;
  readonly permissions: Permissions;
  readonly args: ReadonlyArray<string>;
  /** What is in the folder before. */
  readonly before?: "dataset" | "quarantine";
  readonly env?: Readonly<Record<string, string>>;
}

const cases: ReadonlyArray<Case> = [
  { what: "--help", permissions: {}, args: ["--help"] },
  { what: "check", permissions: tenantAlone, args: ["check", "--max-elapsed", "1s"] },
  {
    what: "check, with all of it on the command line",
    permissions: { net, read: ["FOLDER/key"] },
    args: ["check", "--max-elapsed", "1s", "--domain", "DOMAIN", "--api-key-file", "FOLDER/key"],
  },
  { what: "an export to standard output", permissions: tenantAlone, args: [...all, ...toStdout] },
  {
    what: "an export of the users in a file",
    permissions: { net, env, read: ["FOLDER/ids.txt"] },
    args: ["export", "--users-file", "FOLDER/ids.txt", ...quick, ...toStdout],
  },
  {
    what: "an export with hashes",
    permissions: { net, env: [...env, "MONOCLOUD_REDACT_SECRET"] },
    args: [...all, ...toStdout, "--redact", "ip=hash"],
    env: { MONOCLOUD_REDACT_SECRET: "0123456789abcdef0123456789abcdef" },
  },
  {
    what: "an export to files",
    permissions: files,
    args: [...all, ...["ndjson.gz", "csv", "parquet"].flatMap((format) => ["--out", `FOLDER/s.${format}`])],
  },
  { what: "an export into a folder", permissions: files, args: [...all, ...toFolder] },
  { what: "--resume", permissions: files, args: [...all, ...toFolder, "--resume"] },
  {
    what: "--since-last --prune",
    permissions: files,
    args: [...all, ...toFolder, "--since-last", "--prune"],
    before: "dataset",
  },
  { what: "verify", permissions: { read: ["FOLDER"] }, args: ["verify", "FOLDER"], before: "dataset" },
  {
    what: "replay",
    permissions: { read: ["FOLDER"], write: ["FOLDER"] },
    args: ["replay", "FOLDER"],
    before: "quarantine",
  },
];

describe("sync", () => {
  // It starts none where there is none.
  const postgres = hasPostgres ? postgresForFile() : undefined;
  const sync = async (
    flags: ReadonlyArray<string>,
    to: string,
    more: Readonly<Record<string, string>> = {},
  ) => {
    const sandbox = make({ users: 3, sessionsPerUser: 4 });
    const server = await serve(sandbox);
    onTestFinished(server.close);
    const tenant = { MONOCLOUD_DOMAIN: server.url, MONOCLOUD_API_KEY: sandbox.key };
    const args = ["sync", "--all-users", "--json", "--quiet", ...quick, "--to", to];
    return await beginDeno(["--allow-net=127.0.0.1", ...flags], args, { env: { ...tenant, ...more } }).done;
  };
  const tenantsEnv = `--allow-env=${env.join()}`;

  it("into DuckDB runs with native code permitted, and else says what is missing", async () => {
    const to = join(await newFolder(), "sessions.duckdb");
    const { code, out } = await sync([tenantsEnv, "--allow-ffi"], to);
    expect([code, JSON.parse(out).inserted]).toEqual([0, 12]);
    expect(await sync([tenantsEnv], to)).toMatchObject({ code: 2 });
  });

  it.skipIf(!hasPostgres)(
    "into PostgreSQL runs with its variables, and else says what is missing",
    async () => {
      const { url, password } = await postgres!().createDatabase();
      const { code, out } = await sync([`${tenantsEnv},PG*`], url, { PGPASSWORD: password });
      expect([code, JSON.parse(out).inserted]).toEqual([0, 12]);
      const refused = await sync([tenantsEnv], url, { PGPASSWORD: password });
      expect(refused).toMatchObject({
        code: 2,
        out: expect.stringContaining('Requires env access to \\"PGPASSWORD'),
      });
    },
  );
});

describe.each(cases)("$what", ({ permissions, args, before, env: more }) => {
  let sandbox: Sandbox;
  let options: CommandOptions & { readonly env: Readonly<Record<string, string>> };

  beforeAll(async () => {
    sandbox = make({ users: 5, sessionsPerUser: 12 });
    const server = await serve(sandbox);
    options = { env: { MONOCLOUD_DOMAIN: server.url, MONOCLOUD_API_KEY: sandbox.key, ...more } };
    return server.close;
  });

  const placed = async (): Promise<string> => {
    const folder = await newFolder();
    await writeFile(join(folder, "key"), sandbox.key);
    await writeFile(join(folder, "ids.txt"), [...sandbox.userIds()].join("\n"));
    // What a test brings along is no part of a dataset.
    const root = args.includes("FOLDER") ? join(folder, "data") : folder;
    const exported = before === "quarantine"
      ? make({ users: 5, sessionsPerUser: 12, malformed: 0.2 })
      : sandbox;
    if (before !== undefined) {
      await exportInto(exported, root, {
        tenant: options.env["MONOCLOUD_DOMAIN"]!,
        users: UserList.all(),
        options: { keepFormulas: false },
      });
    }
    return root;
  };

  const begin = (granted: Permissions, folder: string) =>
    beginDeno(
      flagsOf(granted, folder),
      args.map((arg) =>
        arg.replace("FOLDER", folder).replace("DOMAIN", options.env["MONOCLOUD_DOMAIN"] ?? "")
      ),
      options,
    ).done;

  it("runs with these permissions", async () => {
    const { code, err } = await begin(permissions, await placed());
    // What can't be replayed yet is no matter of permissions.
    expect({ code, err }).toEqual({ code: before === "quarantine" ? 4 : 0, err: expect.any(String) });
  });

  it.each(oneIn(4, withoutOne(permissions)))("does not run without %s, and says so", async (_, granted) => {
    const { code, err } = await begin(granted, await placed());
    expect(err).toMatch(/Requires (net|read|write) access to|Deno needs --allow-(env=MONOCLOUD_|read)/);
    expect(err).not.toContain("Unexpected");
    expect([2, 73, 74, 75]).toContain(code);
  });
});
