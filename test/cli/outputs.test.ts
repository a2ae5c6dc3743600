/** Outputs that are there already, pipes, and what is told besides: each request, and failures as JSON. */
import { execFileSync } from "node:child_process";
import { lchown, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it } from "vitest";
import { problemsOf } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { answering, begin, keysIn, keysOf, run, shell, tenant, until } from "./command.ts";

const all = ["export", "--all-users", "--rate", "5000/s"];

describe("a file that is there", () => {
  it("is replaced, and named on standard error", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    await writeFile(join(cwd, "s.csv"), "old");
    const { code, err } = await run([...all, "--out", "s.csv", "--out", "s.ndjson"], { env, cwd });
    expect(code).toBe(0);
    expect(err.split("\n")[0]).toBe("The export replaces s.csv, which exists");
    expect(err).not.toContain("replaces s.ndjson");
    expect(await readFile(join(cwd, "s.csv"), "utf8")).toMatch(/^user_id,/);
    const quiet = await run([...all, "--out", "s.csv", "--quiet"], { env, cwd });
    expect(quiet).toMatchObject({ code: 0, err: "" });
  });

  it("is kept with --no-clobber, before any request", async () => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    for (const name of ["s.csv", "t.csv.quarantine.ndjson"]) await writeFile(join(cwd, name), "old");
    for (const [out, there] of [["s.csv", "s.csv"], ["t.csv", "t.csv.quarantine.ndjson"]] as const) {
      expect(await run([...all, "--out", out, "--no-clobber"], { env, cwd })).toMatchObject({
        code: 2,
        out: "",
        err: `Error: ${there} exists, and --no-clobber keeps it: choose another name, or move it away\n`,
      });
      expect(await readFile(join(cwd, there), "utf8")).toBe("old");
    }
    expect(sandbox.counts.total).toBe(0);
    expect((await run([...all, "--out", "u.csv", "--no-clobber"], { env, cwd })).code).toBe(0);
    const folder = await run([...all, "--out", "data", "--format", "csv", "--no-clobber"], { env, cwd });
    expect(folder).toMatchObject({ code: 2, err: expect.stringContaining("--no-clobber goes with files") });
  });
});

describe.skipIf(process.platform === "win32")("a named pipe", () => {
  const pipeIn = async (name: string) => {
    const cwd = await newFolder();
    execFileSync("mkfifo", [join(cwd, name)]);
    return cwd;
  };

  it("is written to, and stays a pipe", async () => {
    const { sandbox, env } = await tenant({ users: 300, sessionsPerUser: 30 });
    const cwd = await pipeIn("s.ndjson");
    const script = `cat s.ndjson > got & "$@" ${
      all.join(" ")
    } --out s.ndjson --out s.csv; code=$?; wait; exit $code`;
    const { code, err } = await shell(script, { env, cwd }).done;
    expect({ code, err }).toEqual({ code: 0, err: expect.stringContaining("; verified: ") });
    expect(keysIn(await readFile(join(cwd, "got"), "utf8"))).toEqual(keysOf(sandbox));
    expect((await lstat(join(cwd, "s.ndjson"))).isFIFO()).toBe(true);
    expect((await readdir(cwd)).sort()).toEqual(["got", "s.csv", "s.ndjson"]);
  });

  it("of a shell is written to as --format says", async () => {
    const { sandbox, env } = await tenant();
    const cwd = await newFolder();
    const script = `"$@" ${all.join(" ")} --out >(cat > got) --format ndjson; code=$?; wait $!; exit $code`;
    expect((await shell(script, { env, cwd }).done).code).toBe(0);
    expect(keysIn(await readFile(join(cwd, "got"), "utf8"))).toEqual(keysOf(sandbox));
    const bare = await shell(`"$@" ${all.join(" ")} --out >(cat)`, { env, cwd }).done;
    expect(bare).toMatchObject({
      code: 2,
      err: expect.stringContaining("say with --format what to write there"),
    });
  });

  it("whose reader goes ends the export as standard output does, and one without a reader does not outlive Ctrl-C", async () => {
    const { sandbox, env } = await tenant({ users: 2000, sessionsPerUser: 30 });
    const cwd = await pipeIn("s.csv");
    const script = `head -1 s.csv > got & "$@" ${all.join(" ")} --out s.csv`;
    expect((await shell(script, { env, cwd }).done).code).toBe(141);
    const before = sandbox.counts.total;
    const running = begin([...all, "--out", "s.csv"], { env, cwd });
    await until(() => sandbox.counts.total > before, "the export is under way");
    running.kill("SIGINT");
    expect(await running.done).toMatchObject({
      code: 75,
      err: expect.stringContaining("Interrupted: whoever reads has got a part of the export"),
    });
  });
});

describe("--json", () => {
  const failureIn = async (args: ReadonlyArray<string>, env: Record<string, string> = {}) => {
    const finished = await run([...args, "--json"], { env, cwd: await newFolder() });
    expect(finished.out.split("\n")).toHaveLength(2);
    const { error, ...more } = JSON.parse(finished.out);
    expect(more).toEqual({});
    expect(error.exit_code).toBe(finished.code);
    expect(finished.err).toBe(`Error: ${error.message}\n`);
    return error;
  };

  it("prints what went wrong as one object", async () => {
    const { env } = await tenant();
    const refused = await answering((_, response) => void response.writeHead(401).end("{}"));
    expect(await failureIn(["export", "--fromat", "csv"])).toMatchObject({ reason: "usage", exit_code: 2 });
    expect(await failureIn([...all, "--page-size", "3"], env)).toMatchObject({
      reason: "usage",
      exit_code: 2,
    });
    expect(await failureIn(["export", "--user", "a", "--out", "-", "--format", "csv"], env)).toEqual({
      reason: "usage",
      message: "--json and --out - both want standard output: write the export to a file",
      exit_code: 2,
    });
    expect(await failureIn(["verify", "nothing"])).toMatchObject({ reason: "absent", exit_code: 2 });
    expect(await failureIn(["check"], refused.env)).toMatchObject({ reason: "unauthorized", exit_code: 3 });
    expect(await failureIn(["export", "--user", "nobody", "--out", "s.csv"], env)).toMatchObject({
      reason: "no_such_users",
      exit_code: 66,
    });
  });

  it("prints that it was interrupted", async () => {
    const { sandbox, env } = await tenant({ users: 5000 });
    const running = begin(["--json", ...all, "--out", "s.csv"], { env, cwd: await newFolder() });
    await until(() => sandbox.counts.total > 20, "the export is under way");
    running.kill("SIGTERM");
    const { code, out } = await running.done;
    expect({ code, error: JSON.parse(out).error }).toMatchObject({
      code: 75,
      error: { reason: "interrupted", exit_code: 75 },
    });
  });

  it("prints that another run holds the folder, which is exit code 75", async () => {
    const { sandbox, env } = await tenant({ users: 5000 });
    const cwd = await newFolder();
    await mkdir(join(cwd, "data"));
    const args = [...all, "--out", "data", "--format", "csv", "--rate=20/s"].filter((word) =>
      word !== "5000/s" && word !== "--rate"
    );
    const running = begin(args, { env, cwd });
    await until(() => sandbox.counts.total > 2, "the first run is under way");
    const second = await run([...args, "--json"], { env, cwd });
    expect(second.code).toBe(75);
    expect(JSON.parse(second.out).error).toMatchObject({ reason: "locked", exit_code: 75 });
    running.kill("SIGKILL");
  });
});

describe("--verbose", () => {
  it("tells each request, with its query, status and time, and never the key", async () => {
    const { sandbox, env } = await tenant({ faults: { "503": 0.3, retryAfterSeconds: 0 } });
    const cwd = await newFolder();
    const { code, out, err } = await run([...all, "--out", "s.csv", "--verbose"], { env, cwd });
    expect({ code, out }).toEqual({ code: 0, out: "" });
    const told = err.split("\n").filter((line) => line.startsWith("GET "));
    expect(told).toHaveLength(sandbox.counts.total);
    for (const line of told) {
      expect(line).toMatch(/^GET \/api\/users(\/[^/]+\/sessions)?\?page=\d+&size=\d+\S* (200|503) \d+ ms$/);
    }
    expect(told.some((line) => line.includes(" 503 "))).toBe(true);
    expect(err).not.toContain(sandbox.key);
    const silent = await run([...all, "--out", "s.csv"], { env, cwd });
    expect(silent.err).not.toContain("GET ");
  });

  it("tells of a request that nobody answers", async () => {
    const env = { MONOCLOUD_DOMAIN: "http://127.0.0.1:9", MONOCLOUD_API_KEY: "k" };
    const { code, err } = await run(["--verbose", "check", "--max-elapsed", "1s"], { env });
    expect(code).toBe(75);
    expect(err).toMatch(/^GET \/api\/users\?page=1&size=100 no answer, broken off \d+ ms$/m);
  });
});

describe.skipIf(process.platform === "win32")("a file that is replaced", () => {
  const quietly = ["export", "--all-users", "--quiet", "--rate", "1000/s"];

  it("is for no other eyes than before, and what leads to it stays a link", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const path = join(cwd, "s.csv");
    await writeFile(path, "old", { mode: 0o600 });
    await symlink("s.csv", join(cwd, "link.csv"));
    expect((await run([...quietly, "--out", "link.csv"], { env, cwd })).code).toBe(0);
    expect((await lstat(join(cwd, "link.csv"))).isSymbolicLink()).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, "utf8")).toMatch(/^user_id,/);
    expect((await readdir(cwd)).sort()).toEqual(["link.csv", "s.csv"]);
  });

  it("is not what a link of someone else leads to", async (context) => {
    if (process.getuid?.() !== 0) return context.skip("needs root to give a link to someone else");
    const { env } = await tenant();
    const cwd = await newFolder();
    await writeFile(join(cwd, "theirs"), "old");
    await symlink("theirs", join(cwd, "s.csv"));
    await lchown(join(cwd, "s.csv"), 12_345, 12_345);
    expect((await run([...quietly, "--out", "s.csv"], { env, cwd })).code).toBe(0);
    expect(await readFile(join(cwd, "theirs"), "utf8")).toBe("old");
    expect((await lstat(join(cwd, "s.csv"))).isFile()).toBe(true);
  });

  it("is none in the folder of an export, nor a folder without the one above it", async () => {
    const { env, sandbox } = await tenant();
    const cwd = await newFolder();
    const folder = ["--out", "data", "--format", "csv"];
    expect((await run([...quietly, ...folder], { env, cwd })).code).toBe(0);
    const asked = sandbox.counts.total;
    for (const path of ["data/all.csv", "data/manifest.csv"]) {
      const { code, err } = await run([...quietly, "--out", path], { env, cwd });
      expect({ code, err }).toEqual({
        code: 2,
        err: `Error: --out ${path} would lie in the folder of an export, whose next run refuses it: ` +
          "choose another place\n",
      });
    }
    const none = await run([...quietly, "--out", "absent/data", "--format", "csv"], { env, cwd });
    expect(none.code).toBe(2);
    expect(none.err).toMatch(
      /^Error: --out absent\/data: there is no folder \S+\/absent\. Create it first, or mount it\n$/,
    );
    expect(sandbox.counts.total).toBe(asked);
    expect(await readdir(cwd)).toEqual(["data"]);
  });

  it("may lie open in a spreadsheet while the folder's next run adds to it", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const folder = ["--out", "data", "--format", "csv"];
    expect((await run([...quietly, ...folder], { env, cwd })).code).toBe(0);
    for (const name of ["csv/.~lock.part-00000.csv#", "csv/~$part-00000.csv", "Thumbs.db", "desktop.ini"]) {
      await writeFile(join(cwd, "data", name), "");
    }
    expect(await run([...quietly, ...folder, "--since-last"], { env, cwd })).toMatchObject({
      code: 0,
      err: "",
    });
    expect(await problemsOf(join(cwd, "data"))).toEqual([]);
    await writeFile(join(cwd, "data", "mine.csv"), "");
    const { code, err } = await run([...quietly, ...folder, "--since-last"], { env, cwd });
    expect({ code, err }).toEqual({
      code: 73,
      err: expect.stringContaining("it holds mine.csv, which no export has"),
    });
  });
});

it("a file of a key with more in it than the key is refused, and nothing of it is told", async () => {
  const { env, sandbox } = await tenant();
  const cwd = await newFolder();
  for (
    const text of [
      `${sandbox.key} extra`,
      `# the key\n${sandbox.key}\n`,
      `MONOCLOUD_API_KEY=${sandbox.key}\n`,
    ]
  ) {
    await writeFile(join(cwd, "key"), text, { mode: 0o600 });
    const { code, err } = await run(["check", "--api-key-file", "key"], { env, cwd });
    expect({ code, err }).toEqual({
      code: 2,
      err: expect.stringContaining("must hold the key alone, on one line"),
    });
    expect(err).not.toContain(sandbox.key);
  }
});

it("a file is no folder to verify", async () => {
  const cwd = await newFolder();
  await writeFile(join(cwd, "s.csv"), "");
  expect(await run(["verify", "s.csv"], { cwd })).toMatchObject({
    code: 2,
    err: "Error: s.csv is a file: verify reads the folder of an export\n",
  });
});
