/** The key appears in nothing that is printed, written or listed, whatever happens. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { expect, it, onTestFinished } from "vitest";
import { newFolder } from "../folders.ts";
import { answering, begin, filesIn, type Finished, run, tenant, until } from "./command.ts";
import { oneIn } from "../size.ts";

// With characters that URLs, JSON and regular expressions write otherwise.
const key = "sk+live/Zq7$w.X(9)&=%key";

const forms = [
  key,
  encodeURIComponent(key),
  encodeURIComponent(encodeURIComponent(key)),
  JSON.stringify(key).slice(1, -1),
  Buffer.from(key).toString("base64"),
  Buffer.from(key).toString("hex"),
  // Half of it would be too much as well.
  key.slice(0, 12),
  key.slice(12),
];

const expectNoKey = (text: string) => {
  for (const form of forms) expect(text.toLowerCase()).not.toContain(form.toLowerCase());
};

const expectSilence = async ({ out, err }: Finished, folder?: string) => {
  expectNoKey(out);
  expectNoKey(err);
  if (folder === undefined) return;
  for (const [name, text] of Object.entries(await filesIn(folder))) expectNoKey(`${name}\n${text}`);
};

const levels = ["all", "trace", "debug", "info", "warning", "error", "fatal", "none"];

it.each(oneIn(4, levels))("not in an export at --log-level %s", async (level) => {
  const { env } = await tenant({
    key,
    malformed: 0.1,
    faults: { "503": 0.2, cut: 0.1, retryAfterSeconds: 0 },
  });
  const cwd = await newFolder();
  const args = ["export", "--log-level", level, "--all-users", "--rate", "500/s", "--json"];
  const toFolder = ["--out", "data", "--format", "ndjson,csv.gz,parquet"];
  const finished = await run([...args, ...toFolder], { env, cwd });
  expect(finished.code).toBe(4);
  expect(Object.keys(await filesIn(cwd))).toContain("data/manifest.json");
  await expectSilence(finished, cwd);
});

it.each(oneIn(3, [400, 401, 403, 404, 409, 422, 302, 200]))(
  "not when the tenant answers %d and quotes the key in every way",
  async (status) => {
    const { env } = await answering((request, response) => {
      const echo = [request.headers["x-api-key"], ...forms.slice(0, 4), request.url].join(" ");
      response.writeHead(status, {
        "content-type": status === 200 ? `text/html; ${encodeURIComponent(key)}` : "application/problem+json",
        "x-pagination": echo,
        location: `https://elsewhere.example/?key=${encodeURIComponent(key)}`,
      });
      const errors = status % 2 === 0 ? { [echo]: [echo] } : [{ code: echo, description: echo }];
      response.end(JSON.stringify({ title: echo, detail: echo, type: echo, instance: echo, errors }));
    }, key);
    for (const level of ["all", "none"]) {
      const finished = await run(["check", "--log-level", level, "--user", "alice", "--max-elapsed", "2s"], {
        env,
      });
      expect([2, 3, 66, 75, 76]).toContain(finished.code);
      expect(finished.err).toContain("Error: GET ");
      await expectSilence(finished);
    }
  },
);

it("not when a row quotes it and is quarantined or fails the run", async () => {
  const { env } = await answering((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify([{ session_id: 7 }]));
  }, key);
  const cwd = await newFolder();
  const args = ["export", "--user", "alice", "--out", "s.csv"];
  await expectSilence(await run([...args, "--on-invalid", "fail"], { env, cwd }), cwd);
  await expectSilence(await run(args, { env, cwd }), cwd);
});

it("not when nothing listens, or the connection breaks", async () => {
  const { env } = await answering((request) => void request.socket.destroy(), key);
  for (const domain of [env.MONOCLOUD_DOMAIN, "http://127.0.0.1:9"]) {
    const finished = await run(["check", "--log-level", "all", "--domain", domain, "--max-elapsed", "2s"], {
      env,
    });
    expect(finished.code).toBe(75);
    await expectSilence(finished);
  }
});

it("not when the certificate is not to be trusted, and not a request is sent", async (context) => {
  const folder = await newFolder();
  const [keyFile, certificate] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  try {
    const subject = ["-subj", "/CN=localhost", "-days", "1"];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const files = ["-keyout", keyFile, "-out", certificate];
    execFileSync("openssl", ["req", "-x509", ...kind, ...subject, ...files], { stdio: "ignore" });
  } catch {
    return context.skip("needs openssl to make a certificate");
  }
  let requests = 0;
  const server = createServer(
    { key: readFileSync(keyFile), cert: readFileSync(certificate) },
    (_, response) => {
      requests++;
      response.end("[]");
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const env = {
    MONOCLOUD_DOMAIN: `https://localhost:${(server.address() as AddressInfo).port}`,
    MONOCLOUD_API_KEY: key,
  };
  const finished = await run(["check", "--log-level", "all"], { env });
  expect(finished.code).toBe(75);
  expect(finished.err).toContain("certificate");
  expect(requests).toBe(0);
  await expectSilence(finished);
});

it("not when the command crashes", async () => {
  const { env } = await tenant({ key });
  const breaking = "Number.prototype.toFixed = () => { throw new Error('this crash') }";
  const preload = new URL(`data:text/javascript,${encodeURIComponent(breaking)}`);
  const finished = await run(["check", "--log-level", "all"], { env, preload });
  expect(finished.code).toBe(70);
  expect(finished.err).toMatch(/^Unexpected: Error: this crash\n {4}at /);
  await expectSilence(finished);
});

it("not in the list of processes", async (context) => {
  if (process.platform !== "linux") return context.skip("needs /proc");
  const { sandbox, env } = await tenant({ key, users: 10_000, faults: { latencyMs: 5 } });
  const folder = await newFolder();
  await writeFile(join(folder, "key"), key);
  const { MONOCLOUD_API_KEY: _, ...keyless } = env;
  const args = ["export", "--all-users", "--rate", "1000/s", "--out", "s.csv"];
  for (
    const running of [
      begin(args, { env, cwd: folder }),
      begin([...args, "--api-key-file", "key"], { env: keyless, cwd: folder }),
    ]
  ) {
    const before = sandbox.counts.total;
    await until(() => sandbox.counts.total > before + 20, "the export is under way");
    const { pid } = running.child;
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    expect(commandLine).toContain("--all-users");
    expectNoKey(commandLine);
    expectNoKey(execFileSync("ps", ["-ww", "-o", "args=", "-p", `${pid}`]).toString());
    running.kill("SIGKILL");
    await running.done;
  }
});

it.each([
  ["--api-key", key],
  [`--api-key=${key}`],
  ["-api-key", key],
  ["--apikey", key],
  [`--API_KEY=${key}`],
  [`--key=${key}`],
  [`--api-token=${key}`],
  ["--secret", key],
])("not when it is given on the command line as %s, which is refused", async (...flags) => {
  const { sandbox, env } = await tenant();
  for (const args of [["export", "--user", "a", "--out", "s.csv", ...flags], ["check", ...flags], flags]) {
    const finished = await run(args, { env });
    expect(finished.code).toBe(2);
    expect(finished.err).toMatch(/^Error: The API key does not go on the command line/);
    await expectSilence(finished);
  }
  expect(sandbox.counts.total).toBe(0);
});

it("not when it is put where a file or the domain should be", async () => {
  const { env } = await tenant();
  for (const flag of ["--api-key-file", "--domain"]) {
    const finished = await run(["check", "--log-level", "all", flag, key], { env });
    expect(finished.code).toBe(2);
    await expectSilence(finished);
  }
});
