import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it } from "vitest";
import { codeOf, exitCodes, UsageError } from "../../src/cli/ExitCode.ts";
import { newFolder } from "../folders.ts";
import { answering, type CommandOptions, run, shell, tenant } from "./command.ts";
import { oneIn } from "../size.ts";

/** Runs the command in a folder of its own and expects it to leave nothing there and nothing on standard output. */
const failing = async (args: ReadonlyArray<string>, options: CommandOptions) => {
  const cwd = await newFolder();
  const finished = await run(args, { cwd, ...options });
  expect(finished.out).toBe("");
  expect(await readdir(cwd)).toEqual([]);
  return finished;
};

const one = ["export", "--user", "alice", "--out", "s.csv"];

/** A tenant that answers every request with this problem. */
const refusing = (status: number, title: string, headers: Record<string, string> = {}) =>
  answering((_, response) => {
    response.writeHead(status, { "content-type": "application/problem+json", ...headers });
    response.end(JSON.stringify({ title, status, detail: "As the test wants it." }));
  });

describe("exit code 2, the command line or the environment is wrong:", () => {
  it.each(oneIn(3, [
    [["export", "--out", "s.csv"], "Error: Whose sessions? Give --user ID, --users-file FILE or --all-users"],
    [
      [...one, "--all-users"],
      "Error: --user, --users-file and --all-users can't be combined: give one of them",
    ],
    [["export", "--user", "a"], "Error: Nowhere to export to: give --out, such as --out sessions.csv"],
    [[...one, "--out", "./s.csv"], "Error: --out ./s.csv is given twice"],
    [
      [...one, "--quarantine", "./s.csv"],
      "Error: --quarantine ./s.csv is also an --out: give it a name of its own",
    ],
    [[...one, "--format", "csv"], "--format goes with --out - or a folder: a file's name says its format"],
    [
      ["export", "--user", "a", "--out", "s.xlsx"],
      "--out s.xlsx is taken for a folder, since it ends in none of",
    ],
    [["export", "--user", "a", "--out", "-"], "Error: --out - needs exactly one --format, of ndjson, "],
    [
      ["export", "--user", "a", "--out", "o", "--format", "xls"],
      "Error: --format xls is not known: choose of ndjson, ndjson.gz, csv, csv.gz, parquet",
    ],
    [
      ["export", "--user", "a", "--out", "s.parquet.gz"],
      "Error: --out s.parquet.gz: parquet is compressed inside: leave out the .gz",
    ],
    [
      [...one, "--page-size", "3"],
      '--page-size must be a whole number from 10 to 50000, or auto: it is "3"',
    ],
    [
      [...one, "--concurrency", "0"],
      '--concurrency must be a whole number from 1 to 1000, or auto: it is "0"',
    ],
    [
      [...one, "--concurrency", "many"],
      '--concurrency must be a whole number from 1 to 1000, or auto: it is "many"',
    ],
    [
      [...one, "--rate", "fast"],
      '--rate must be requests in a time, such as 20/s or 600/min, or auto: it is "fast"',
    ],
    [
      [...one, "--sort", "city:asc"],
      "--sort must be KEY:asc or KEY:desc, KEY one of session_id, initiated_at",
    ],
    [
      [...one, "--bogus"],
      'Error: export has no option --bogus. "monocloud-sessions help export" lists all of them',
    ],
    [
      ["exprot"],
      'Error: There is no command "exprot". Did you mean export? The commands are export, sync, load, check, ',
    ],
    [["export", "--user", "..", "--out", "s.csv"], "\"..\" can't be a user's id"],
    [["sandbox", "--faults", "503=200%"], "Error: "],
  ]))("%j", async (args, message) => {
    const { env } = await tenant();
    const finished = await failing(args, { env });
    expect(finished.err).toContain(message);
    expect(finished.code).toBe(2);
  });

  it.each(oneIn(2, [
    [{ MONOCLOUD_API_KEY: "k" }, "Error: No tenant: set MONOCLOUD_DOMAIN, or give --domain, such as"],
    [
      { MONOCLOUD_DOMAIN: "127.0.0.1:9" },
      "Error: No API key: set MONOCLOUD_API_KEY, or name a file that holds it with --api-key-file",
    ],
    [
      { MONOCLOUD_DOMAIN: "http://acme.example", MONOCLOUD_API_KEY: "k" },
      "Error: Cannot send the API key to http://acme.example: use https.",
    ],
    [
      { MONOCLOUD_DOMAIN: "https://acme.example/api", MONOCLOUD_API_KEY: "k" },
      "Error: Cannot use the tenant's domain as something follows the host",
    ],
  ]))("the environment %j", async (env, message) => {
    const finished = await failing(one, { env });
    expect(finished.err).toContain(message);
    expect(finished.code).toBe(2);
  });
});

describe("exit code", () => {
  it("65: a row is not a session and --on-invalid is fail", async () => {
    const { env } = await tenant({ malformed: 0.9 });
    const args = ["export", "--all-users", "--on-invalid", "fail", "--out", "s.csv"];
    const { code, err } = await failing(args, { env });
    expect(err).toMatch(/^Error: User \S+, page 1 \(of size 100\), row \d+ is not a session: /);
    expect(code).toBe(65);
  });

  it("66: the tenant knows none of the users", async () => {
    const { env } = await tenant();
    const { code, err } = await failing(one, { env });
    expect(err).toBe('Error: The tenant knows no user "alice": check the id and the domain\n');
    expect(code).toBe(66);
  });

  it("75: the tenant wants to be left alone for longer than there is patience", async () => {
    const { env } = await refusing(429, "Too Many Requests", { "retry-after": "3600" });
    const { code, err } = await failing(one, { env });
    expect(err).toMatch(/^Error: GET \S+: 429 Too Many Requests: .*lower --rate or raise --max-elapsed\.\n$/);
    expect(code).toBe(75);
  });

  it("75: nothing listens", async () => {
    const { env } = await refusing(200, "");
    const { code, err } = await failing(["check", "--domain", "http://127.0.0.1:9", "--max-elapsed", "2s"], {
      env,
    });
    expect(err).toMatch(
      /^Error: GET http:\S+ \(after \d+ attempts\): Transport: .+\. The connection failed: check the domain and the/,
    );
    expect(code).toBe(75);
  });

  it.each(oneIn(2, [
    ["absent/s.csv", "Error: Cannot open absent/s.csv: its folder does not exist: create it first\n"],
    ["a-file/s.csv", "Error: Cannot open a-file/s.csv: part of its path is a file, not a folder\n"],
    ["folder.csv", "Error: Cannot open folder.csv: it is a folder: name a file\n"],
  ]))("73: %s can't be created", async (out, message) => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    await writeFile(join(cwd, "a-file"), "");
    await mkdir(join(cwd, "folder.csv"));
    const { code, err } = await run(["export", "--all-users", "--out", out], { env, cwd });
    expect(err).toBe(message);
    expect(code).toBe(73);
    expect(sandbox.counts.total).toBe(0);
  });

  it("74: a file grows beyond what the system allows, and is removed", async (context) => {
    if (process.platform === "win32") return context.skip("needs a POSIX shell");
    const { env } = await tenant({ users: 20, sessionsPerUser: 100 });
    const cwd = await newFolder();
    // Node outlives the signal that goes with it by itself.
    const limited =
      'trap "" XFSZ; ulimit -f 400; exec "$@" export --all-users --rate 1000/s --out s.ndjson --out s.parquet';
    const { code, err } = await shell(limited, { env, cwd }).done;
    expect(err).toBe(
      "Error: Cannot write s.ndjson: the file is larger than the system allows: " +
        "raise the limit or choose another place\n",
    );
    expect(code).toBe(74);
    expect(await readdir(cwd)).toEqual([]);
  });

  it("74: standard output goes to a disk that is full", async (context) => {
    if (process.platform !== "linux") return context.skip("needs /dev/full");
    const { env } = await tenant();
    const full = '"$@" export --all-users --out - --format csv > /dev/full';
    const { code, err } = await shell(full, { env }).done;
    expect(err).toContain("Error: Cannot write standard output: the disk is full");
    expect(code).toBe(74);
  });

  it("76: the tenant sends the request elsewhere", async () => {
    const { env } = await refusing(302, "Found", { location: "https://login.example/" });
    const { code, err } = await failing(one, { env });
    expect(err).toContain("it points to https://login.example/. Redirects are never followed");
    expect(code).toBe(76);
  });

  it.each(oneIn(3, [[401, "The API key was refused"], [402, "The tenant's plan"], [
    403,
    "The API key is valid but may not",
  ]]))(
    "3: the tenant answers %d",
    async (status, message) => {
      const { env } = await refusing(status, "Refused");
      const { code, err } = await failing(one, { env });
      expect(err).toContain(message);
      expect(code).toBe(3);
    },
  );

  it("is known for every failure of the command and for nothing else", () => {
    expect(codeOf(new UsageError({ message: "" }))).toBe(exitCodes.usage);
    for (
      const unknown of [new Error("a bug"), undefined, null, "text", { _tag: "ApiError", reason: "toString" }]
    ) {
      expect(codeOf(unknown)).toBeUndefined();
    }
  });
});

describe("--api-key-file", () => {
  it("holds the key, with whatever white space around it", async () => {
    const { sandbox, url } = await tenant();
    const cwd = await newFolder();
    await writeFile(join(cwd, "key"), `  ${sandbox.key}\r\n`);
    await chmod(join(cwd, "key"), 0o600);
    const args = ["export", "--all-users", "--api-key-file", "key", "--domain", url, "--out", "s.csv"];
    expect(await run(args, { cwd })).toMatchObject({ code: 0 });
  });

  it("that others can read gets a warning, and is used", async (context) => {
    if (process.platform === "win32") return context.skip("needs the modes of POSIX");
    const { sandbox, url } = await tenant();
    const cwd = await newFolder();
    await writeFile(join(cwd, "key"), sandbox.key);
    const warning =
      "Warning: other users of this machine can read the file that --api-key-file names: chmod 600 keeps it to you\n";
    for (const [mode, said] of [[0o644, warning], [0o640, warning], [0o400, ""]] as const) {
      await chmod(join(cwd, "key"), mode);
      const { code, err } = await run(["check", "--api-key-file", "key", "--domain", url], { cwd });
      expect({ code, err }).toEqual({ code: 0, err: said });
    }
    // A pipe is nobody else's: the shell's <(…).
    const { code, err } = await shell(`"$@" check --api-key-file <(cat key) --domain ${url}`, { cwd }).done;
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });

  it.each([["absent", "there is no such file"], [".", "it is a folder"]])(
    "that is %s is refused without a word of its name",
    async (path, why) => {
      const { url } = await tenant();
      const { code, err } = await failing([...one, "--domain", url, "--api-key-file", path], {});
      expect(err).toBe(`Error: Cannot read the API key from the file that --api-key-file names: ${why}\n`);
      expect(code).toBe(2);
    },
  );
});
