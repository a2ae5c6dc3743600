/** What stands between the command and the tenant: proxies, name servers, outages. Under Node and under Deno. */
import { execFileSync, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { newFolder } from "../folders.ts";
import {
  begin,
  beginDeno,
  command,
  type CommandOptions,
  keysIn,
  keysOf,
  type Running,
  start,
  tenant,
  until,
} from "./command.ts";
import { isLong } from "../size.ts";

const listening = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
};

/** A proxy, and what passed through it: `CONNECT host:port` or `GET http://…`. */
const proxy = async (password?: string) => {
  const passed: Array<string> = [];
  const isAllowed = ({ headers }: http.IncomingMessage) =>
    password === undefined ||
    headers["proxy-authorization"] === `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;
  const server = http.createServer((request, response) => {
    if (!isAllowed(request)) {
      return response.writeHead(407, { "proxy-authenticate": 'Basic realm="proxy"' }).end("who are you?");
    }
    passed.push(`${request.method} ${request.url?.split("/api")[0]}`);
    const { "proxy-authorization": _, "proxy-connection": __, ...headers } = request.headers;
    request.pipe(http.request(request.url!, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    }));
  });
  server.on("connect", (request: http.IncomingMessage, socket: Socket) => {
    socket.on("error", () => {});
    if (!isAllowed(request)) {
      return socket.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm="proxy"\r\ncontent-length: 0\r\n\r\n',
      );
    }
    passed.push(`CONNECT ${request.url}`);
    const [host = "", port] = request.url!.split(":");
    const there = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      there.pipe(socket).pipe(there);
    });
    there.on("error", () => socket.destroy());
    onTestFinished(() => void there.destroy());
  });
  const port = await listening(server);
  onTestFinished(() => server.closeAllConnections());
  return { port, passed };
};

/** A tenant behind a certificate, which is trusted by whoever knows the file; undefined without openssl. */
const encrypted = async (sandbox: Sandbox) => {
  const folder = await newFolder();
  const at = (name: string) => join(folder, name);
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { stdio: "ignore" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  await writeFile(at("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n");
  try {
    openssl(
      "req",
      "-x509",
      ...newKey,
      "-subj",
      "/CN=An authority",
      "-keyout",
      at("ca.key"),
      "-out",
      at("ca.pem"),
    );
  } catch {
    return undefined;
  }
  openssl("req", ...newKey, "-subj", "/CN=localhost", "-keyout", at("key.pem"), "-out", at("request.pem"));
  openssl(
    "x509",
    "-req",
    "-in",
    at("request.pem"),
    "-CA",
    at("ca.pem"),
    "-CAkey",
    at("ca.key"),
    "-days",
    "2",
    "-extfile",
    at("names"),
    "-out",
    at("cert.pem"),
  );
  const server = https.createServer(
    { key: readFileSync(at("key.pem")), cert: readFileSync(at("cert.pem")) },
    async ({ url, headers }, response) => {
      const answer = await sandbox.fetch(
        new Request(`http://sandbox.example${url}`, { headers: new Headers(headers as HeadersInit) }),
      );
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
    },
  );
  const port = await listening(server);
  onTestFinished(() => server.closeAllConnections());
  return {
    env: { MONOCLOUD_DOMAIN: `https://localhost:${port}`, MONOCLOUD_API_KEY: sandbox.key },
    trusting: { NODE_EXTRA_CA_CERTS: at("ca.pem"), DENO_CERT: at("ca.pem") },
    place: `localhost:${port}`,
  };
};

const runtimes: ReadonlyArray<
  readonly [string, (args: ReadonlyArray<string>, options?: CommandOptions) => Running]
> = [
  ["Node", begin],
  ["Deno", (args, options) => beginDeno(["--allow-all"], args, options)],
];

const everything = [
  "export",
  "--all-users",
  "--rate",
  "1000/s",
  "--out",
  "-",
  "--format",
  "ndjson",
  "--quiet",
];

describe.each(runtimes)("under %s, an export", (_, begin) => {
  it.for<readonly [string, string, string | undefined]>([
    ["https_proxy", "without a password", undefined],
    ["HTTPS_PROXY", "with a password", "pass word"],
  ])("goes through %s by CONNECT, %s", async ([variable, _, password], context) => {
    const sandbox = make({ users: 3, sessionsPerUser: 5 });
    const [tenant, { port, passed }] = [await encrypted(sandbox), await proxy(password)];
    if (tenant === undefined) return context.skip("needs openssl to make a certificate");
    const credentials = password === undefined ? "" : `me:${encodeURIComponent(password)}@`;
    const proxied = { ...tenant.env, [variable]: `http://${credentials}127.0.0.1:${port}` };
    const { code, out, err } = await begin(everything, { env: { ...proxied, ...tenant.trusting } }).done;
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(keysIn(out)).toEqual(keysOf(sandbox));
    expect(new Set(passed)).toEqual(new Set([`CONNECT ${tenant.place}`]));

    // The tenant is not known here: the proxy has no part in that.
    const untrusting = await begin(["check"], { env: proxied })
      .done;
    expect(untrusting.code).toBe(75);
    expect(untrusting.err).toContain("NODE_EXTRA_CA_CERTS");
    expect(untrusting.err).not.toContain("attempts");
  });

  it.each([["http_proxy", undefined], ["HTTP_PROXY", "p%40ss"]])(
    "goes through %s as plain HTTP",
    async (variable, password) => {
      const [{ sandbox, env, url }, { port, passed }] = [
        await tenant(),
        await proxy(password && decodeURIComponent(password)),
      ];
      const credentials = password === undefined ? "" : `me:${password}@`;
      const proxied = { ...env, [variable]: `http://${credentials}127.0.0.1:${port}` };
      const { code, out, err } = await begin(everything, { env: proxied }).done;
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(keysIn(out)).toEqual(keysOf(sandbox));
      expect(new Set(passed)).toEqual(new Set([`GET ${url}`]));
      expect(passed).toHaveLength(sandbox.counts.total);
    },
  );
});

// Less is the runtime's own work here: under Deno, it is tried at full size alone.
describe.each(isLong ? runtimes : runtimes.slice(0, 1))("under %s, an export", (runtime, begin) => {
  it("over HTTP goes through it too", async () => {
    const [{ sandbox, env, url }, { port, passed }] = [await tenant(), await proxy()];
    const worker = begin(["serve", "--port", "0"], {
      env: { ...env, HTTP_PROXY: `http://127.0.0.1:${port}` },
    });
    await until(() => worker.err().includes("Listening on"), "the worker listens");
    const place = /Listening on (\S+?)\/?\n/.exec(worker.err())![1];
    const [userId = ""] = sandbox.userIds();
    const answer = await fetch(`${place}/v1/users/${userId}/sessions.ndjson`);
    expect(keysIn(await answer.text())).toEqual(
      keysOf(sandbox).filter((key) => key.startsWith(`${userId} `)),
    );
    expect(new Set(passed)).toEqual(new Set([`GET ${url}`]));
    worker.kill("SIGTERM");
    await worker.done;
  });

  it("goes past the proxy to a host that NO_PROXY names", async () => {
    const [{ sandbox, env }, { port, passed }] = [await tenant(), await proxy()];
    const past = { ...env, HTTP_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: "example.com,127.0.0.1" };
    const { code, out } = await begin(everything, { env: past }).done;
    expect(code).toBe(0);
    expect(keysIn(out)).toEqual(keysOf(sandbox));
    expect(passed).toEqual([]);
  });

  it("that its proxy keeps from the tenant ends with an error that names the proxy and not its password", async () => {
    const { env } = await tenant();
    const { port } = await proxy("another");
    const refused = { ...env, HTTP_PROXY: `http://me:secret-word@127.0.0.1:${port}` };
    const byWrongPassword = await begin(["check"], { env: refused }).done;
    expect(byWrongPassword.err).toMatch(
      /^Error: GET \S+: 407 Proxy.*HTTPS_PROXY, with its user name and password/,
    );
    expect(byWrongPassword.code).toBe(75);
    const server = http.createServer();
    const gone = await listening(server);
    await new Promise((resolve) => server.close(resolve));
    const dead = { ...env, HTTP_PROXY: `http://me:secret-word@127.0.0.1:${gone}` };
    const byDown = await begin(["check", "--max-elapsed", "1s"], { env: dead }).done;
    expect(byDown.err).toContain(`the proxy http://127.0.0.1:${gone} (HTTP_PROXY)`);
    expect(byDown.err).toContain("The proxy did not let the request through");
    expect(byDown.code).toBe(75);
    expect(byWrongPassword.err + byDown.err).not.toContain("secret-word");
  });

  it.each([
    ["HTTP_PROXY", "socks9://me:secret@x", "must be the URL of a proxy, such as http:"],
    ["http_proxy", "proxy.example:99999", "must be the URL of a proxy, such as http:"],
    ["HTTP_PROXY", "http://me:secret%ss@127.0.0.1:1", "must be the URL of a proxy, such as http:"],
  ])(
    "with %s that is none says so at once, and not what is in the variable",
    async (variable, value, words) => {
      const { env, sandbox } = await tenant();
      const { code, err } = await begin(["check"], { env: { ...env, [variable]: value } }).done;
      expect(err).toContain(`InvalidRequest: ${variable} ${words}`);
      expect(err).not.toContain("secret");
      expect(code).toBe(2);
      // Of no account where it is not asked.
      const past = { ...env, [variable]: value, no_proxy: "127.0.0.1" };
      if (runtime === "Deno") expect((await begin(["check"], { env: past }).done).code).toBe(0);
      // A check makes two requests.
      expect(sandbox.counts.total).toBe(runtime === "Deno" ? 2 : 0);
    },
  );

  it("to this machine in plain HTTP never sends the key to a proxy elsewhere", async () => {
    const { env, sandbox } = await tenant();
    const away = { ...env, HTTP_PROXY: "http://proxy.invalid:3128" };
    const { code, err } = await begin(["check"], { env: away }).done;
    if (runtime === "Node") expect({ code, err }).toEqual({ code: 0, err: "" });
    else expect(err).toContain("would get the key in plain text: name the tenant's host in NO_PROXY");
    expect(code).toBe(runtime === "Node" ? 0 : 2);
    const excepted = await begin(["check"], { env: { ...away, NO_PROXY: "localhost,127.0.0.1" } }).done;
    expect(excepted.code).toBe(0);
    expect(sandbox.counts.total).toBe(2 * (runtime === "Node" ? 2 : 1));
  });

  it("outlasts an outage, and ends in time where there is no end to it", async () => {
    const [outage, patience] = isLong ? [120_000, "60s"] : [1500, "2s"];
    const sandbox = make({ users: 3, sessionsPerUser: 5 });
    const server = http.createServer(async ({ url, headers }, response) => {
      const answer = await sandbox.fetch(
        new Request(`http://sandbox.example${url}`, { headers: new Headers(headers as HeadersInit) }),
      );
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
    });
    const port = await listening(server);
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
    const env = { MONOCLOUD_DOMAIN: `http://127.0.0.1:${port}`, MONOCLOUD_API_KEY: sandbox.key };
    const began = Date.now();
    const byDefault = begin(everything, { env });
    const forTen = begin([...everything, "--max-elapsed", "10m"], { env });
    const ended = await begin([...everything, "--max-elapsed", patience], { env }).done;
    const took = Date.now() - began;
    expect(ended.err).toMatch(/^Error: GET \S+ \(after \d+ attempts\): Transport: /);
    expect(ended.code).toBe(75);
    if (isLong) console.log(`${runtime}: ended after ${took} ms with --max-elapsed 60s`);
    if (isLong) expect(took).toBeLessThan(70_000);
    await new Promise((resolve) => setTimeout(resolve, began + outage - Date.now()));
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    for (const running of [byDefault, forTen]) {
      const { code, out } = await running.done;
      expect(code).toBe(0);
      expect(keysIn(out)).toEqual(keysOf(sandbox));
    }
    if (isLong) console.log(`${runtime}: outlasted ${outage} ms, done after ${Date.now() - began} ms`);
  }, 400_000);
});

describe("a name server", () => {
  /** One that knows no name, or answers that it failed. */
  const NXDOMAIN = 3, SERVFAIL = 2;
  const answering = async (code: number) => {
    const server = createSocket("udp4", (question, from) => {
      const answer = Buffer.from(question);
      answer[2] = 0x81;
      answer[3] = 0x80 | code;
      server.send(answer, from.port, from.address);
    });
    const isBound = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).bind(53, "127.0.0.77", () => resolve(true));
    });
    onTestFinished(() => void (isBound && server.close()));
    return isBound;
  };

  const ask = async (code: number, args: ReadonlyArray<string>): Promise<Running | undefined> => {
    const folder = await newFolder();
    await writeFile(join(folder, "resolv.conf"), "nameserver 127.0.0.77\noptions timeout:1 attempts:1\n");
    if (spawnSync("unshare", ["-m", "true"]).status !== 0 || !(await answering(code))) return undefined;
    const mount = `mount --bind '${join(folder, "resolv.conf")}' /etc/resolv.conf && exec "$@"`;
    const env = { MONOCLOUD_DOMAIN: "acmee.eu.monocloud.example", MONOCLOUD_API_KEY: "a-key" };
    return start("unshare", ["-m", "bash", "--norc", "-c", mount, "bash", ...command, "check", ...args], {
      env,
    });
  };

  it("that knows no such host ends the command at once", async (context) => {
    const began = Date.now();
    const running = await ask(NXDOMAIN, []);
    if (running === undefined) return context.skip("needs namespaces, and port 53");
    const { code, err } = await running.done;
    expect(err).toMatch(
      /^Error: GET https:\/\/acmee\S+: UnknownHost: .*ENOTFOUND.*There is no host of that name/,
    );
    expect(code).toBe(75);
    if (isLong) console.log(`A mistyped domain ended after ${Date.now() - began} ms`);
    if (isLong) expect(Date.now() - began).toBeLessThan(2000);
  });

  it("that fails is asked again", async (context) => {
    const running = await ask(SERVFAIL, ["--max-elapsed", "2s"]);
    if (running === undefined) return context.skip("needs namespaces, and port 53");
    const { code, err } = await running.done;
    expect(err).toMatch(/Error: GET https:\/\/acmee\S+ \(after \d+ attempts\): Transport: .*EAI_AGAIN/);
    expect(code).toBe(75);
  });
});
