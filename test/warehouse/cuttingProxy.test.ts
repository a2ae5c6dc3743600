import { type AddressInfo, connect as dial, createServer } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { until } from "../cli/command.ts";
import { isLong, oneIn } from "../size.ts";
import { type CuttingProxy, type Fault, type Message, startProxy } from "./cuttingProxy.ts";
import { connect, type Database, hasPostgres, postgresForFile } from "./postgres.ts";

describe.skipIf(!hasPostgres)("a proxy (needs PostgreSQL)", () => {
  const postgres = postgresForFile();
  let database: Database;
  let proxy: CuttingProxy;

  beforeEach(async () => {
    database ??= await postgres().createDatabase();
    await postgres().sql("DROP TABLE IF EXISTS t; CREATE TABLE t (a int)", database.name);
    proxy = await startProxy(postgres().port);
    return () => proxy.close();
  });

  const client = () => {
    const made = connect({ ...database, url: proxy.through(database.url) });
    onTestFinished(() => made.end());
    return made;
  };

  const rows = async () =>
    (await postgres().sql("SELECT a FROM t ORDER BY a", database.name)).map(({ a }) => a);

  /** One row by INSERT, three by COPY, in a transaction. */
  const load = async (client: pg.Client) => {
    await client.connect();
    await client.query("BEGIN");
    await client.query("INSERT INTO t VALUES ($1)", [1]);
    await pipeline(Readable.from(["2\n3\n4\n"]), client.query(copyFrom("COPY t FROM STDIN")));
    await client.query("COMMIT");
  };

  const isCommit = ({ type }: Message, bytes: Buffer) => type === "C" && bytes.includes("COMMIT");

  it("without a fault changes nothing, and tells what passed", async () => {
    await load(client());
    expect(await rows()).toEqual([1, 2, 3, 4]);
    expect(proxy.counts()).toMatchObject({
      "client StartupMessage": 1,
      "client Q": 3,
      "client P": 1,
      "client c": 1,
      "server G": 1,
      "server C": 4,
      "server Z": 5,
    });
    expect(proxy.messages().map(({ n }) => n)).toEqual(proxy.messages().map((_, at) => at + 1));
    expect(proxy.struck()).toBeUndefined();
  });

  it("passes a long COPY whole, and a long answer", async () => {
    const length = isLong ? 500_000 : 50_000;
    const many = client();
    await many.connect();
    const lines = Readable.from(
      (function* () {
        for (let a = 0; a < length; a++) yield `${a}\n`;
      })(),
      { objectMode: false },
    );
    await pipeline(lines, many.query(copyFrom("COPY t FROM STDIN")));
    const { rows: answer } = await many.query("SELECT a, repeat('x', 100) FROM t ORDER BY a");
    expect(answer).toHaveLength(length);
    expect(answer.every(({ a }, at) => a === at)).toBe(true);
  });

  it.each<Fault["how"]>(["cut", "reset", "partial"])(
    "fails by a %s at any message, with all rows or none",
    async (how) => {
      await load(client());
      const all = proxy.messages().length;
      expect(all).toBeGreaterThan(30);
      for (const n of oneIn(4, Array.from({ length: all }, (_, at) => at + 1))) {
        await postgres().sql("TRUNCATE t", database.name);
        const struck = proxy.arm({ at: n, how });
        const failing = client();
        await expect(load(failing), `${how} at ${n}`).rejects.toThrow();
        expect((await struck).message.n).toBe(n);
        // BEGIN, COPY and COMMIT, if it was forwarded.
        const asked = proxy.messages().slice(0, n - 1).filter(({ type }) => type === "Q").length;
        await expect(rows(), `${how} at ${n}`).resolves.toEqual(asked < 3 ? [] : [1, 2, 3, 4]);
      }
    },
  );

  it("strikes once, and tells whether a transaction was open", async () => {
    const struck = proxy.arm({ at: ({ type }) => type === "c", how: "reset" });
    await expect(load(client())).rejects.toThrow(/ECONNRESET|terminated/);
    expect(await struck).toMatchObject({ message: { from: "client", type: "c" }, status: "T" });
    await load(client());
    expect(await rows()).toEqual([1, 2, 3, 4]);
    proxy.arm({ at: 1, how: "cut" });
    await expect(client().connect()).rejects.toThrow();
    expect(proxy.struck()).toMatchObject({ message: { type: "StartupMessage" }, status: undefined });
  });

  it("after a message lets that be heard", async () => {
    for (const how of ["cut", "reset"] as const) {
      await postgres().sql("TRUNCATE t", database.name);
      proxy.arm({ at: ({ type }, bytes) => type === "Q" && bytes.includes("COMMIT"), how, when: "after" });
      await expect(load(client()), how).rejects.toThrow();
      await until(async () => (await rows()).length === 4, `it is committed, ${how}`);
    }
  });

  it("holds a commit's answer until it is released", async () => {
    const struck = proxy.arm({ at: isCommit, how: "hold" });
    let isLoaded = false;
    const loading = load(client()).then(() => isLoaded = true);
    expect(await struck).toMatchObject({ message: { from: "server" }, status: "T" });
    expect(await rows()).toEqual([1, 2, 3, 4]);
    expect(isLoaded).toBe(false);
    // Other connections are not held.
    await load(client());
    proxy.release();
    await loading;
  });

  it("holds for a time, and goes on or resets", async () => {
    const began = performance.now();
    proxy.arm({ at: isCommit, how: "hold", milliseconds: 200 });
    await load(client());
    expect(performance.now() - began).toBeGreaterThan(190);
    proxy.arm({ at: isCommit, how: "hold", milliseconds: 50, then: "reset" });
    await expect(load(client())).rejects.toThrow(/ECONNRESET|terminated/);
  });

  it("passes a request to encrypt, and the server's refusal", async () => {
    const wary = connect({ ...database, url: proxy.through(database.url) }, { ssl: true });
    await expect(wary.connect()).rejects.toThrow("The server does not support SSL connections");
    expect(proxy.counts()).toEqual({ "client SSLRequest": 1, "server answer": 1 });
  });

  it("resets a client that the server does not take", async () => {
    await postgres().stop();
    await expect(client().connect()).rejects.toThrow(/ECONNRESET|terminated/);
    await postgres().start();
    await load(client());
  });
});

it("a proxy passes what is encrypted as it comes", async () => {
  const server = createServer((socket) => {
    socket.once("data", () => {
      socket.write("S");
      socket.pipe(socket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy = await startProxy((server.address() as AddressInfo).port);
  onTestFinished(async () => {
    await proxy.close();
    server.close();
  });
  const socket = dial(proxy.port, "127.0.0.1");
  const [heard, answer]: [Array<Buffer>, () => string] = [[], () => Buffer.concat(heard).toString()];
  socket.on("data", (bytes) => heard.push(bytes));
  socket.write(Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]));
  await until(() => answer() === "S", "the server agrees");
  socket.end("no message at all");
  await until(() => answer() === "Sno message at all", "it is passed on, and back");
  expect(proxy.counts()).toMatchObject({ "client SSLRequest": 1, "server answer": 1, "client encrypted": 1 });
});
