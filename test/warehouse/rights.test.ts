/**
 * Logins, rights, passwords and certificates of PostgreSQL: what suffices, and what is said where something is missing. The
 * password is told to nobody.
 */
import { chmod, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { chownSync } from "node:fs";
import * as Effect from "effect/Effect";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { make as makeSandbox } from "../../src/sandbox/mod.ts";
import * as PasswordFile from "../../src/postgres/PasswordFile.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { type Finished, run, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { has } from "../programs.ts";
import { isLong, oneIn } from "../size.ts";
import { type Database, hasPostgres, postgresForFile, startPostgres } from "./postgres.ts";
import { type Options, select, syncOf } from "./tables.ts";
import { account } from "./versions.ts";

/** The least that a loader needs which makes the tables itself, in a schema that was made for it. */
const forFirstRun = (database: string, schema: string, role: string) => `
  GRANT CONNECT, TEMPORARY ON DATABASE ${database} TO ${role};
  CREATE SCHEMA ${schema};
  GRANT USAGE, CREATE ON SCHEMA ${schema} TO ${role};
`;

/** The least that a loader needs of tables that another role made. */
const forLaterRuns = (database: string, schema: string, role: string) => `
  GRANT CONNECT, TEMPORARY ON DATABASE ${database} TO ${role};
  GRANT USAGE ON SCHEMA ${schema} TO ${role};
  GRANT SELECT, INSERT, UPDATE ON ${schema}.sessions, ${schema}._runs TO ${role};
  GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}._cursors TO ${role};
  GRANT SELECT, INSERT, DELETE ON ${schema}._observed TO ${role};
  GRANT SELECT, INSERT ON ${schema}._quarantine TO ${role};
  GRANT SELECT ON ${schema}._meta TO ${role};
`;

/** And with these options. */
const more = {
  hard: (schema: string, role: string) => `GRANT DELETE ON ${schema}.sessions TO ${role};`,
  history: (schema: string, role: string) => `GRANT INSERT ON ${schema}.sessions_history TO ${role};`,
};

/** A reader needs no more. */
const forReaders = (schema: string, role: string) => `
  GRANT USAGE ON SCHEMA ${schema} TO ${role};
  GRANT SELECT ON ${schema}.sessions_live TO ${role};
`;

const messageOf = async (error: Promise<unknown>) => ((await error) as Error).message;

describe.skipIf(!hasPostgres)("PostgreSQL (needs PostgreSQL)", () => {
  const postgres = postgresForFile();
  let made = 0;

  /** A database in which nobody may do anything, and a role that may not even connect. */
  const guarded = async (schema = "monocloud") => {
    const database = await postgres().createDatabase(`guarded_${++made}`);
    const role = `loader_${made}`;
    const loader = await postgres().createUser(database, role);
    const admin = (sql: string) => postgres().sql(sql, database.name);
    await admin(
      `REVOKE ALL ON DATABASE ${database.name} FROM PUBLIC, ${role}; REVOKE ALL ON SCHEMA public FROM PUBLIC`,
    );
    const target = (of: Database) => Postgres.make({ url: of.url, password: of.password, schema });
    return { database, loader, role, schema, admin, by: target(loader), asAdmin: target(database) };
  };

  const sandboxOf = () => makeSandbox({ users: 3, sessionsPerUser: 10, malformed: 0.3 });
  const sync = (...args: Parameters<typeof syncOf>) => Effect.runPromise(syncOf(...args));
  const failure = (...args: Parameters<typeof syncOf>) => Effect.runPromise(Effect.flip(syncOf(...args)));

  it("lets a role with the least rights make the tables, sync and prune", async () => {
    const { database, role, schema, admin, by } = await guarded();
    await admin(forFirstRun(database.name, schema, role));
    const sandbox = sandboxOf();
    await sync(sandbox, by, { history: true });
    await sync(sandbox, by, { prune: true });
    await sync(sandbox, by, { prune: true, deletes: "hard" });
  });

  it(
    "lets a role with the least rights write to another's tables, and names each one that is missing",
    async () => {
      const { database, role, schema, admin, by, asAdmin, loader } = await guarded();
      const sandbox = sandboxOf();
      await sync(sandbox, asAdmin, { history: true });
      await admin(
        forLaterRuns(database.name, schema, role) + more.history(schema, role) + more.hard(schema, role),
      );
      const [userId] = [...sandbox.userIds()];
      const changed = () => {
        sandbox.add(userId!);
        sandbox.remove(userId!, [...sandbox.sessions(userId!)][0]!.session_id);
      };
      const options: ReadonlyArray<Options> = [{}, { prune: true }, { prune: true, deletes: "hard" }];
      for (const its of options) {
        changed();
        await sync(sandbox, by, its);
      }
      const rights = await admin(
        `SELECT table_name AS t, privilege_type AS p FROM information_schema.role_table_grants
       WHERE grantee = '${role}' ORDER BY 1, 2`,
      );
      expect(rights.length).toBe(18);
      for (const { t, p } of rights.filter((_, at) => isLong || at % 9 === 0)) {
        await admin(`REVOKE ${p} ON ${schema}.${t} FROM ${role}`);
        const said: Array<string> = [];
        for (const its of options) {
          changed();
          const end = await Effect.runPromise(Effect.either(syncOf(sandbox, by, its)));
          if (end._tag === "Left") {
            expect(end.left, `${p} on ${t}`).toMatchObject({ reason: "Denied" });
            said.push(end.left.message);
          }
        }
        expect(said[0] ?? "nothing", `${p} on ${t}`).toMatch(
          new RegExp(
            `^Cannot log in to or write to .*: permission denied for table ${t}\\. GRANT SELECT, INSERT`,
          ),
        );
        await admin(`GRANT ${p} ON ${schema}.${t} TO ${role}`);
      }
      await sync(sandbox, by, { prune: true, deletes: "hard" });
      expect(
        await select(by, ({ table }) => `SELECT count(*) AS n FROM ${table("sessions_live")} WHERE false`)
          .catch((e) => e.message),
      )
        .toContain("permission denied for view sessions_live");
      await admin(forReaders(schema, role));
      await select(
        Postgres.make({ ...loader, schema }),
        ({ table }) => `SELECT 1 FROM ${table("sessions_live")}`,
      );
    },
    120_000,
  );

  it("says which right on the database or schema is missing, and what grants it", async () => {
    const { database, role, schema, admin, by } = await guarded();
    const sandbox = sandboxOf();
    expect(await failure(sandbox, by)).toMatchObject({ reason: "Denied" });
    expect(await messageOf(failure(sandbox, by))).toContain(
      `permission denied for database "${database.name}"`,
    );
    await admin(`GRANT CONNECT ON DATABASE ${database.name} TO ${role}`);
    expect(await messageOf(failure(sandbox, by))).toMatch(
      /permission denied for database .*CREATE SCHEMA "monocloud" AUTHORIZATION/,
    );
    await admin(`CREATE SCHEMA ${schema}`);
    expect(await messageOf(failure(sandbox, by))).toMatch(
      /permission denied for schema monocloud\. GRANT USAGE, CREATE ON SCHEMA "monocloud"/,
    );
    await admin(`GRANT USAGE, CREATE ON SCHEMA ${schema} TO ${role}`);
    expect(await failure(sandbox, by)).toMatchObject({
      reason: "Denied",
      message: expect.stringMatching(
        /permission denied to create temporary tables .*GRANT TEMPORARY ON DATABASE/,
      ),
    });
    await admin(`GRANT TEMPORARY ON DATABASE ${database.name} TO ${role}`);
    await sync(sandbox, by);
  });

  describe("and the command", () => {
    let database: Database;
    let loader: Database;
    beforeAll(async () => {
      database = await postgres().createDatabase("commanded");
      loader = await postgres().createUser(database, "commander");
      await postgres().sql("GRANT CREATE ON DATABASE commanded TO commander");
    });

    const words = (to: string | undefined, ...rest: ReadonlyArray<string>) => [
      ...["sync", "--all-users", "--rate", "5000/s", "--max-elapsed", "30s"],
      ...to === undefined ? [] : ["--to", to],
      ...["--verbose", "--json", ...rest],
    ];

    /** Runs it, and expects the password nowhere. */
    const secretly = async (
      password: string,
      args: ReadonlyArray<string>,
      env: Readonly<Record<string, string>>,
    ): Promise<Finished> => {
      const [cwd, of] = [await newFolder(), await tenant({ users: 2, sessionsPerUser: 3 })];
      // Each has its own tenant, and so its own schema.
      const finished = await run([...args, "--schema", `s${++made}`], {
        cwd,
        env: { ...of.env, HOME: cwd, ...env },
      });
      expect(finished.out + finished.err).not.toContain(password);
      expect((await readdir(cwd, { recursive: true })).join()).not.toContain(password);
      if (finished.code === 0) {
        const rows = await select(
          Postgres.make({ ...database, schema: `s${made}` }),
          ({ table }) =>
            `SELECT r::text FROM ${table("_runs")} r UNION ALL SELECT m::text FROM ${table("_meta")} m`,
        );
        expect(JSON.stringify(rows)).not.toContain(password);
      }
      return finished;
    };

    it("takes the password from PGPASSWORD, ~/.pgpass or MONOCLOUD_TO, and tells it nobody", async () => {
      const { url, password } = loader;
      const whole = new URL(url);
      whole.password = password;
      expect(await secretly(password, words(url), { PGPASSWORD: password })).toMatchObject({ code: 0 });
      expect(await secretly(password, words(undefined), { MONOCLOUD_TO: whole.href })).toMatchObject({
        code: 0,
      });
      const home = await newFolder();
      const file = join(home, ".pgpass");
      await writeFile(
        file,
        `# a comment\nelsewhere:*:*:*:wrong\n127.0.0.1:*:commanded:commander:${password}\n`,
        { mode: 0o600 },
      );
      const byFile = await secretly(password, words(url), { HOME: home });
      expect(byFile).toMatchObject({ code: 0 });
      expect(byFile.err).not.toContain("deprecated");
      await chmod(file, 0o644);
      expect(await secretly(password, words(url), { HOME: home })).toMatchObject({
        code: 77,
        err: expect.stringContaining(`others can read the password file ${file}: chmod 600 ${file}`),
      });
    });

    it("refuses a password in --to, wherever in it", async () => {
      const { url, password } = loader;
      const whole = new URL(url);
      whole.password = password;
      const all = [whole.href, `${url}?password=${password}`, `postgres://u:${password}@h:port/d`];
      for (const to of oneIn(3, all)) {
        expect(await secretly(password, words(to), {})).toMatchObject({
          code: 2,
          err: expect.stringMatching(
            /The password of the database does not go on the command line.*PGPASSWORD/,
          ),
        });
      }
    });

    it("says of a login that is refused where the password comes from", async () => {
      const { url } = loader;
      const said = await secretly("not-the-secret", words(url), { PGPASSWORD: "not-the-secret" });
      expect(said).toMatchObject({
        code: 77,
        err: expect.stringMatching(
          /^Error: Cannot log in to or write to postgres:\/\/commander@127.*: password authentication failed for user "commander"\. The password comes from MONOCLOUD_TO, PGPASSWORD or ~\/\.pgpass$/m,
        ),
      });
      expect(JSON.parse(said.out)).toMatchObject({ error: { reason: "denied", exit_code: 77 } });
      expect(await secretly("no-secret", words(url), {})).toMatchObject({
        code: 77,
        err: expect.stringMatching(/: it asks for a password\. The password comes from/),
      });
    });

    it("says that there is no such database, or no such host, and does not try for long", async () => {
      const { url, password } = loader;
      const other = new URL(url);
      other.pathname = "/nowhere";
      const env = { PGPASSWORD: password };
      expect(await secretly(password, words(other.href), env)).toMatchObject({
        code: 77,
        err: expect.stringMatching(
          /database "nowhere" does not exist\. Create it, or name another in the URL/,
        ),
      });
      expect(await secretly(password, words("postgres://commander@no-such-host.invalid/d"), env))
        .toMatchObject({
          code: 75,
          err: expect.stringMatching(/^Error: Cannot find the host of postgres:.*ENOTFOUND/m),
        });
    });

    it("refuses a server without TLS where sslmode asks for it", async () => {
      const { url, password } = loader;
      for (const mode of oneIn(3, ["require", "verify-full", "no-verify"])) {
        expect(await secretly(password, words(`${url}?sslmode=${mode}`), { PGPASSWORD: password }))
          .toMatchObject({
            code: 2,
            err: expect.stringMatching(
              /^Error: Cannot trust the server of .*does not support SSL connections\. Set TLS up there; sslmode=disable/m,
            ),
          });
      }
      if (!isLong) return;
      expect(await secretly(password, words(`${url}?sslmode=disable`), { PGPASSWORD: password }))
        .toMatchObject({ code: 0 });
    });
  });
});

describe.skipIf(!hasPostgres || !has("openssl"))(
  "PostgreSQL with a certificate of one's own (needs openssl)",
  () => {
    it("is trusted by its authority, or by nobody who asks", async () => {
      const folder = await newFolder();
      const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
      const { status } = spawnSync("openssl", [
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"],
        ...["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
      ], { stdio: "ignore" });
      expect(status).toBe(0);
      const { uid, gid } = account();
      await chmod(folder, 0o755);
      await chmod(key, 0o600);
      if (uid !== undefined) { for (const path of [key, cert]) chownSync(path, uid, gid!); }
      const server = await startPostgres({ settings: { ssl: true, ssl_cert_file: cert, ssl_key_file: key } });
      onTestFinished(() => server.remove());
      const database = await server.createDatabase();
      const host = `postgres://postgres@localhost:${server.port}/${database.name}`;
      const ca = encodeURIComponent(cert);
      const of = await tenant({ users: 2, sessionsPerUser: 3 });
      const env = { ...of.env, PGPASSWORD: database.password };
      const ends = async (to: string, more: Readonly<Record<string, string>> = {}) =>
        await run(["sync", "--all-users", "--rate", "5000/s", "--to", to], { env: { ...env, ...more } });
      const refused = {
        code: 2,
        err: expect.stringMatching(
          /^Error: Cannot trust the server of .*certificate\. sslmode=require means verify-full here: .*sslrootcert=FILE/m,
        ),
      };
      expect(await ends(`${host}?sslmode=require`)).toMatchObject(refused);
      if (isLong) {
        expect(await ends(`${host}?sslmode=verify-full`)).toMatchObject(refused);
        expect(await ends(host, { PGSSLMODE: "require" })).toMatchObject(refused);
        expect(await ends(`${host}?sslmode=no-verify`)).toMatchObject({ code: 0 });
        expect(await ends(`${host}?sslmode=require&uselibpqcompat=true`)).toMatchObject({ code: 0 });
        expect(await ends(`${host}?sslmode=verify-full`, { NODE_EXTRA_CA_CERTS: cert })).toMatchObject({
          code: 0,
        });
      }
      // Without the warning that pg has for this mode.
      const trusted = await ends(`${host}?sslmode=require&sslrootcert=${ca}`);
      expect(trusted).toMatchObject({ code: 0 });
      expect(trusted.err).not.toMatch(/warning/i);
      if (!isLong) return;
      // The address is not in it.
      expect(await ends(`${host.replace("localhost", "127.0.0.1")}?sslmode=verify-full&sslrootcert=${ca}`))
        .toMatchObject({
          code: 2,
          err: expect.stringMatching(/Connect by a name that is in the certificate/),
        });
      expect(await ends(`${host}?sslmode=verify-full&sslrootcert=/no/such/file`)).toMatchObject({
        code: 2,
        err: expect.stringMatching(/^Error: Cannot connect to .*no such file.*\/no\/such\/file/m),
      });
    });
  },
);

it("a password file is read as libpq reads it", () => {
  const login = { host: "db", port: 5432, database: "d", user: "u" };
  const find = (text: string, more: Partial<PasswordFile.Login> = {}) =>
    PasswordFile.find(text, { ...login, ...more });
  expect(find("db:5432:d:u:secret")).toBe("secret");
  expect(find("#db:5432:d:u:no\r\n*:*:*:*:any\r\ndb:5432:d:u:late")).toBe("any");
  expect(find("db:5432:d:u:with\\:colon\\\\and more")).toBe("with:colon\\and more");
  expect(find("a\\:b:5432:d:u:six", { host: "a:b" })).toBe("six");
  expect(find("localhost:5432:d:u:socket", { host: "/var/run/postgresql" })).toBe("socket");
  expect(find("db:5433:d:u:no\ndb:5432:e:u:no\n\ndb:5432:d")).toBeUndefined();
});
