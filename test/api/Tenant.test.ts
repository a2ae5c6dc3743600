import * as Either from "effect/Either";
import * as Redacted from "effect/Redacted";
import * as fc from "fast-check";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import * as Tenant from "../../src/api/Tenant.ts";
import { KEY } from "./asking.ts";

const make = (domain: string, apiKey: string | Redacted.Redacted = KEY) => Tenant.make({ domain, apiKey });

const refusal = (domain: string, apiKey: string | Redacted.Redacted = KEY): Tenant.TenantError =>
  Either.getOrThrow(Either.flip(make(domain, apiKey)));

const everything = (value: unknown): string =>
  `${String(value)} ${JSON.stringify(value)} ${inspect(value, { depth: null, showHidden: true })}`;

describe("make() of a domain", () => {
  it.each([
    ["acme.eu.monocloud.com", "https://acme.eu.monocloud.com"],
    ["https://acme.eu.monocloud.com", "https://acme.eu.monocloud.com"],
    ["https://acme.eu.monocloud.com/", "https://acme.eu.monocloud.com"],
    ["acme.eu.monocloud.com/", "https://acme.eu.monocloud.com"],
    ["  acme.eu.monocloud.com\n", "https://acme.eu.monocloud.com"],
    ["HTTPS://Acme.EU.MonoCloud.com", "https://acme.eu.monocloud.com"],
    ["acme.eu.monocloud.com:8443", "https://acme.eu.monocloud.com:8443"],
    ["https://acme.eu.monocloud.com:443", "https://acme.eu.monocloud.com"],
    ["bücher.example", "https://xn--bcher-kva.example"],
    ["https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"],
    ["localhost", "http://localhost"],
    ["localhost:8080", "http://localhost:8080"],
    ["http://localhost:8080/", "http://localhost:8080"],
    ["https://localhost:8443", "https://localhost:8443"],
    ["http://LOCALHOST", "http://localhost"],
    ["127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["http://127.1.2.3", "http://127.1.2.3"],
    ["http://127.1", "http://127.0.0.1"],
    ["[::1]:8080", "http://[::1]:8080"],
    ["http://[::1]", "http://[::1]"],
    ["http://[0:0:0:0:0:0:0:1]:81", "http://[::1]:81"],
    ["https://192.0.2.1", "https://192.0.2.1"],
  ])("%j is %s", (domain, origin) => {
    expect(Either.map(make(domain), (tenant) => tenant.origin)).toEqual(Either.right(origin));
  });

  it.each([
    "http://acme.eu.monocloud.com",
    "http://127.evil.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.localhost.example:8080",
    "http://notlocalhost",
    "http://128.0.0.1",
    "http://0.0.0.0",
    "http://192.168.0.1",
    "http://[::2]",
    "http://[::ffff:127.0.0.1]",
    "ftp://acme.eu.monocloud.com",
    "ws://localhost",
  ])("%j is refused: the key would travel in the clear", (domain) => {
    expect(refusal(domain)).toMatchObject({ _tag: "TenantError", reason: "InsecureTransport" });
    expect(refusal(domain).message).toMatch(/^Cannot send the API key to [a-z]+:\/\/[^/]+: use https\./);
  });

  it.each([
    ["", "it is not a host"],
    ["  ", "it is not a host"],
    ["https://", "it is not a host"],
    ["acme .example", "it is not a host"],
    ["https://acme.example:port", "it is not a host"],
    ["acme.example:99999", "it is not a host"],
    ["acme.example/api/users", "something follows the host"],
    ["https://acme.example/api", "something follows the host"],
    ["https://acme.example?x=1", "something follows the host"],
    ["https://acme.example/#top", "something follows the host"],
    ["acme.example\\@evil.example", "it holds a user name or a password"],
    ["https://key@acme.example", "it holds a user name or a password"],
    ["https://user:key@acme.example", "it holds a user name or a password"],
    ["user:key@acme.example", "it holds a user name or a password"],
    ["https://@acme.example", "it holds a user name or a password"],
    ["acme.example@evil.example", "it holds a user name or a password"],
    ["mailto:acme.example", "it is not a host"],
    ["file:///etc/passwd", "it is not a host"],
    ["data://acme.example", "something follows the host"],
  ])("%j is refused: %s", (domain, flaw) => {
    expect(refusal(domain)).toMatchObject({ _tag: "TenantError", reason: "Domain" });
    expect(refusal(domain).message).toContain(`Cannot use the tenant's domain as ${flaw}: give a host`);
  });

  it("never quotes what may be a secret: what stands before an @ or after the host, or the key in its place", () =>
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Za-z0-9+/=_.~-]{20,40}$/),
        fc.constantFrom("https://", "http://", "ftp://", ""),
        fc.constantFrom(
          (scheme: string, secret: string) => `${scheme}${secret}@acme.example`,
          (scheme: string, secret: string) => `${scheme}user:${secret}@acme.example`,
          (scheme: string, secret: string) => `${scheme}:${secret}@acme .example`,
          (scheme: string, secret: string) => `${scheme}acme.example/${secret}`,
          (scheme: string, secret: string) => `${scheme}acme.example?key=${secret}`,
          (scheme: string, secret: string) => `${scheme}acme.example#${secret}`,
          (_: string, secret: string) => `${secret}/+==`,
        ),
        (secret, scheme, write) => {
          const made = make(write(scheme, secret), secret);
          fc.pre(Either.isLeft(made));
          expect(everything(Either.getOrThrow(Either.flip(made))).toLowerCase()).not.toContain(
            secret.toLowerCase(),
          );
        },
      ),
      { seed: 31, numRuns: 500 },
    ));

  it("gives https, or http to loopback alone, for any text", () =>
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.webUrl(), fc.domain(), fc.ipV4().map((ip) => `http://${ip}`)),
        (text) => {
          const made = make(text);
          if (Either.isLeft(made)) return;
          const url = new URL(made.right.origin);
          expect(url.origin).toBe(made.right.origin);
          if (url.protocol !== "https:") {
            expect(url.hostname).toMatch(
              /^(localhost|\[::1\]|127\.\d+\.\d+\.\d+)$/,
            );
          }
        },
      ),
      { seed: 32, numRuns: 1000 },
    ));
});

describe("make() of a key", () => {
  it.each(["a-key", " a-key\n", "\ta-key\r\n"])("takes %j without the space around it", (apiKey) => {
    const tenant = Either.getOrThrow(make("acme.example", apiKey));
    expect(Redacted.value(tenant.apiKey)).toBe("a-key");
  });

  it("takes a Redacted", () => {
    const tenant = Either.getOrThrow(make("acme.example", Redacted.make(KEY)));
    expect(Redacted.value(tenant.apiKey)).toBe(KEY);
  });

  it.each(["", "  ", "\n"])("refuses %j as empty", (apiKey) => {
    expect(refusal("acme.example", apiKey)).toMatchObject({
      reason: "ApiKey",
      message: "Cannot use the API key: it is empty",
    });
  });

  it.each([
    "se\ncret",
    "secret\r\nx-evil: 1",
    "sécret",
    "se cret",
    "secret\u0000x",
    "secret—",
    "密码",
    "secret\u200bx",
  ])(
    "refuses %j without quoting it",
    (apiKey) => {
      for (const key of [apiKey, Redacted.make(apiKey)]) {
        const error = refusal("acme.example", key);
        expect(error).toMatchObject({
          reason: "ApiKey",
          message: "Cannot use the API key: it holds characters no header can carry",
        });
        expect(everything(error)).not.toContain(apiKey);
      }
    },
  );

  it("never shows any key it took", () =>
    fc.assert(
      fc.property(fc.stringMatching(/^[!-~]{8,64}$/), (apiKey) => {
        const tenant = Either.getOrThrow(make("acme.example", apiKey));
        expect(Redacted.value(tenant.apiKey)).toBe(apiKey);
        expect(everything(tenant)).not.toContain(apiKey);
      }),
      { seed: 33, numRuns: 300 },
    ));
});
