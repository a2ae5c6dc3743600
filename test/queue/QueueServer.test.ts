import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as QueueServer from "../../src/queue/QueueServer.ts";

describe("parse()", () => {
  it.each([
    [
      "postgres://me:hidden@db.example:5433/work?sslmode=require",
      "postgres",
      "postgres://me@db.example:5433/work",
    ],
    ["postgresql:///work?host=/run/postgresql", "postgres", "postgresql:///work"],
    ["redis://:hidden@cache.example", "redis", "redis://cache.example"],
    ["rediss://me:hidden@[::1]:6380/3", "redis", "rediss://me@[::1]:6380/3"],
  ])("takes %s", (url, kind, name) => {
    expect(QueueServer.parse(url)).toEqual({ kind, url, name });
  });

  it.each(["", "hidden", "http://me:hidden@host", "redis://:hidden@host/name", "redis://hidden:x@host:nine"])(
    "refuses %s and does not quote it",
    (url) => {
      expect(() => QueueServer.parse(url)).toThrow(TypeError);
      expect(() => QueueServer.parse(url)).not.toThrow(/hidden/);
    },
  );

  it("never tells a password", () =>
    fc.assert(
      fc.property(fc.constantFrom("postgres", "redis"), fc.string({ unit: "binary" }), (kind, text) => {
        const password = encodeURIComponent(`secret${text.toWellFormed()}`);
        const { name } = QueueServer.parse(`${kind}://me:${password}@host:1234/1?password=${password}`);
        expect(name).toBe(`${kind}://me@host:1234/1`);
      }),
      { seed: 61 },
    ));
});

describe("redisOptions()", () => {
  const of = (url: string) => QueueServer.redisOptions(QueueServer.parse(url));

  it("takes host, port, number, user, password and TLS from the URL", () => {
    expect(of("rediss://me:a%3Ab@[::1]:6380/3")).toMatchObject({
      host: "::1",
      port: 6380,
      db: 3,
      username: "me",
      password: "a:b",
      tls: {},
    });
    const plain = of("redis://cache.example");
    expect(plain).toMatchObject({ host: "cache.example", port: 6379, db: 0 });
    for (const name of ["username", "password", "tls"]) expect(plain).not.toHaveProperty(name);
  });
});

describe("postgresConfig()", () => {
  const of = (url: string) => QueueServer.postgresConfig(QueueServer.parse(url));

  it("takes all from the URL, as the warehouse does", async () => {
    expect(await of("postgres://me:a%3Ab@db.example:5433/work?sslmode=require")).toMatchObject({
      host: "db.example",
      port: 5433,
      database: "work",
      user: "me",
      password: "a:b",
      // As with verify-full: the certificate is checked.
      ssl: {},
    });
    expect(await of("postgres://me:x@db.example/work?sslmode=no-verify")).toMatchObject({
      ssl: { rejectUnauthorized: false },
    });
  });

  it("looks a password up where the URL has none", async () => {
    expect(typeof (await of("postgres://me@db.example/work")).password).toBe("function");
  });

  it("names the server, without its password, where a file is missing", async () => {
    const wrong = of("postgres://me:hidden@db.example/work?sslrootcert=/none.crt");
    await expect(wrong).rejects.toThrow("Cannot use the queue at postgres://me@db.example/work: ENOENT");
    await expect(wrong).rejects.not.toThrow("hidden");
  });
});
