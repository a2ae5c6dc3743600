/** PostgreSQL on Deno: the suite for targets and the command, with no more permissions than they need. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { contract } from "../../src/warehouse/contract.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { deno, project, start, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { hasPostgres, postgresForFile } from "./postgres.ts";
import { listedBy, rowsOf } from "./tables.ts";

const quiet = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };

const begin = (
  permissions: ReadonlyArray<string>,
  words: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>,
) => start(deno, ["run", "--no-prompt", ...permissions, ...words], { env: { ...quiet, ...env } }).done;

describe.skipIf(!hasPostgres)("PostgreSQL on Deno (needs PostgreSQL)", () => {
  const postgres = postgresForFile();

  it("passes the suite for targets, and may reach nothing but the server", async () => {
    const { url, password } = await postgres().createDatabase();
    const permissions = [`--allow-net=127.0.0.1:${postgres().port}`, "--allow-env=PG*"];
    const program = join(project, "test", "warehouse", "contracted.ts");
    const { code, out, err } = await begin(permissions, [program, url], { PGPASSWORD: password });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.trim().split("\n")).toEqual(contract.map(({ name }) => name));
  });

  it("is kept equal to a tenant by the command as it is built, with permissions of which none can be left out", async () => {
    const database = await postgres().createDatabase();
    const { sandbox, env, url } = await tenant();
    const variables = ["MONOCLOUD_DOMAIN", "MONOCLOUD_API_KEY", "PG*"];
    const hosts = [new URL(url).host, `127.0.0.1:${postgres().port}`];
    const words = [
      join(project, "dist", "cli.js"),
      ...["sync", "--all-users", "--rate", "1000/s", "--max-elapsed", "1s", "--to", database.url],
    ];
    const run = (hosts: ReadonlyArray<string>, variables: ReadonlyArray<string>) =>
      begin(
        [`--allow-net=${hosts.join()}`, `--allow-env=${variables.join()}`],
        words,
        { ...env, PGPASSWORD: database.password },
      );
    const whole = await run(hosts, variables);
    expect(whole).toMatchObject({ code: 0, err: expect.stringContaining("60 inserted") });
    expect(await rowsOf(Postgres.make(database))).toEqual(listedBy(sandbox));
    const others = isLong ? [...hosts, ...variables] : [hosts[1]!, "PG*"];
    for (const left of others) {
      const but = (list: ReadonlyArray<string>) => list.filter((one) => one !== left);
      const { code, err } = await run(but(hosts), but(variables));
      expect(code, left).not.toBe(0);
      expect(err, left).toMatch(/Deno needs --allow-|Requires (net|env) access/);
    }
  });

  it.skipIf(!isLong)("takes the password from a file that it may read", async () => {
    const database = await postgres().createDatabase();
    const { env, url } = await tenant();
    const file = join(await newFolder(), "passwords");
    await writeFile(file, `*:*:*:*:${database.password}\n`, { mode: 0o600 });
    const permissions = [
      `--allow-net=${new URL(url).host},127.0.0.1:${postgres().port}`,
      "--allow-env=MONOCLOUD_DOMAIN,MONOCLOUD_API_KEY,PG*",
      `--allow-read=${file}`,
    ];
    const words = [
      join(project, "dist", "cli.js"),
      "sync",
      "--all-users",
      "--rate",
      "1000/s",
      "--to",
      database.url,
    ];
    expect(await begin(permissions, words, { ...env, PGPASSFILE: file })).toMatchObject({ code: 0 });
  });
});
