/**
 * The key is seen by the tenant and by nobody else.
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Logger from "effect/Logger";
import * as Option from "effect/Option";
import * as TestClock from "effect/TestClock";
import * as Tracer from "effect/Tracer";
import * as fc from "fast-check";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import type { ApiError } from "../../src/api/ApiError.ts";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as SessionsApi from "../../src/api/SessionsApi.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import { ask, errorOf, KEY, pageOf, run, tenantAt } from "./asking.ts";
import { failures } from "./failures.ts";
import { transports } from "./transport/transports.ts";

/** All that can be seen of a failure. */
const everything = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) throw new Error("It should have failed");
  const error = Option.getOrThrow(Cause.failureOption(exit.cause)) as Error;
  const deep = { depth: null, showHidden: true, maxStringLength: null, maxArrayLength: null } as const;
  return [
    error.message,
    error.stack,
    String(error),
    JSON.stringify(error),
    inspect(error, deep),
    JSON.stringify(Object.getOwnPropertyDescriptors(error)),
    Cause.pretty(exit.cause),
    Cause.pretty(exit.cause, { renderErrorCause: true }),
    String(exit),
    JSON.stringify(exit),
    inspect(exit, deep),
  ].join("\n");
};

/** A text as it is, and as it would be if escapes of URLs, JSON and string literals were undone, again and again. */
const readings = (text: string): ReadonlyArray<string> => {
  const found = [text];
  for (let times = 0; times < 3; times++) {
    found.push(
      found.at(-1)!
        .replace(
          /\\u00([0-9a-f]{2})|\\x([0-9a-f]{2})|%([0-9a-f]{2})/gi,
          (_, a, b, c) => String.fromCharCode(parseInt(a ?? b ?? c, 16)),
        )
        .replace(/\\(["'\\/])/g, "$1"),
    );
  }
  return found.map((reading) => reading.toLowerCase());
};

/** The pieces of a text of this length: what was cut off a key, or cut in two, is found as well. */
const pieces = (text: string, length: number): ReadonlyArray<string> =>
  Array.from({ length: text.length - length + 1 }, (_, from) => text.slice(from, from + length));

const expectNothingOf = (key: string, text: string, length = 10) => {
  for (const reading of readings(text)) {
    for (const piece of pieces(key.toLowerCase(), length)) {
      if (reading.includes(piece)) {
        expect.fail(`${JSON.stringify(piece)} of the key is in: ${reading.slice(0, 2000)}`);
      }
    }
  }
};

const echoes: Readonly<Record<string, string>> = {
  "as it is": `your key is ${KEY}, isn't it`,
  "as a URL writes it": encodeURIComponent(KEY),
  "as a form writes it": new URLSearchParams({ key: KEY }).toString(),
  "as a URL within a URL writes it": encodeURIComponent(encodeURIComponent(KEY)),
  "as JSON writes it": JSON.stringify({ "x-api-key": KEY }),
  "as cautious JSON writes it": [...KEY].map((char) =>
    /\w/.test(char) ? char : `\\u00${char.charCodeAt(0).toString(16).toUpperCase()}`
  ).join(""),
  "in lower case": KEY.toLowerCase(),
  "after many words": `${"word ".repeat(95)} ${KEY} ${KEY}`,
};

describe("an error never shows the key", () => {
  for (const [how, words] of Object.entries(echoes)) {
    it.each(failures)(`$what, quoting it ${how}`, async ({ answer, reason }) => {
      const { exit } = await run(ask(answer(words), { maxAttempts: 1 }));
      expect(errorOf(exit).reason).toBe(reason);
      expectNothingOf(KEY, everything(exit));
    });
  }

  it("in a Location, as it is", async () => {
    const { exit } = await run(
      ask(() => new Response("", { status: 302, headers: { location: `/login?from=${KEY}` } })),
    );
    expect(errorOf(exit).message).toContain("it points to /login?from=<redacted>");
    expectNothingOf(KEY, everything(exit));
  });

  it("in a problem's type, title, instance and code, escaped as a careful serializer does", async () => {
    const escaped = [...KEY].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
    const body = `{"type":"${escaped}","title":"${escaped}","instance":"${escaped}","detail":"${escaped}",` +
      `"errors":[{"code":"${escaped}","description":"${escaped}"}]}`;
    const { exit } = await run(ask(() => new Response(body, { status: 422 })));
    expect(errorOf(exit).problem).toEqual({
      type: "<redacted>",
      title: "<redacted>",
      detail: "<redacted>",
      instance: "<redacted>",
      errors: ["<redacted>: <redacted>"],
    });
    expectNothingOf(KEY, everything(exit));
  });

  it("whatever the key, wherever it is quoted", () =>
    fc.assert(
      fc.asyncProperty(
        fc.stringMatching(/^[!-~]{12,64}$/),
        fc.constantFrom(...failures),
        fc.constantFrom<(key: string) => string>(
          (key) => key,
          encodeURIComponent,
          JSON.stringify,
          (key) => `<${key}><${key}>`,
        ),
        async (key, { answer }, write) => {
          const failing = answer(write(key));
          const program = Effect.exit(
            Effect.flatMap(
              TenantClient.make(tenantAt("https://acme.example", key), { maxAttempts: 1 }),
              (http) => http.list(pageOf("mia")),
            ),
          ).pipe(
            Effect.provide(Transport.fetch(async (_, init) =>
              await failing({
                at: 0,
                url: new URL("https://acme.example"),
                headers: new Headers(init?.headers),
                redirect: init?.redirect,
                signal: new AbortController().signal,
              }, 1)
            )),
          );
          const exit = await run(Effect.flatMap(Effect.fork(program), (fiber) =>
            Effect.zipRight(TestClock.adjust("1 minute"), Effect.flatten(fiber.await))));
          expectNothingOf(key, everything(exit), key.length);
        },
      ),
      { seed: 41, numRuns: 150 },
    ));

  it("when the request was never sent", async () => {
    const { exit } = await run(
      Effect.flatMap(
        Effect.exit(SessionsApi.page("..", { page: 1, size: 1 })),
        (exit) => Effect.succeed({ exit: exit as Exit.Exit<never, ApiError> }),
      ).pipe(
        Effect.provide(TenantClient.layerOf(tenantAt("https://acme.example"))),
        Effect.provide(Transport.fetch()),
      ),
    );
    expectNothingOf(KEY, everything(exit));
  });
});

describe("a trace and a log never show the key", () => {
  it.each(failures)("$what", async ({ answer }) => {
    const seen: Array<unknown> = [];
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind) => {
        const span: Tracer.Span = {
          _tag: "Span",
          name,
          spanId: "1",
          traceId: "1",
          parent,
          context,
          status: { _tag: "Started", startTime },
          attributes: new Map(),
          links,
          sampled: true,
          kind,
          end: (_, exit) => seen.push(exit),
          attribute: (key, value) => seen.push([key, value]),
          event: (event, _, attributes) => seen.push([event, attributes]),
          addLinks: () => {},
        };
        return span;
      },
      context: (run) => run(),
    });
    const logger = Logger.make(({ message, cause }) => seen.push(message, Cause.pretty(cause)));
    const exit = await run(
      Effect.flatMap(ask(answer(KEY), { maxAttempts: 2 }), ({ exit }) => exit).pipe(
        Effect.tapErrorCause((cause) => Effect.logError("It failed", cause)),
        Effect.withSpan("outer"),
        Effect.withTracer(tracer),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.exit,
      ),
    );
    expect(seen.length).toBeGreaterThan(0);
    expectNothingOf(KEY, inspect(seen, { depth: null, showHidden: true, maxStringLength: null }));
    expectNothingOf(KEY, everything(exit));
  });
});

/** A server on loopback, closed when the test is over. */
const withServer = async <A>(
  listener: http.RequestListener,
  test: (origin: string) => Promise<A>,
): Promise<A> => {
  const server = http.createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await test(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
};

describe.each(transports)("a redirect to another origin, over %s,", (_, transport) => {
  it.each([301, 302, 303, 307, 308])("by %i is not followed: nothing gets there", async (status) => {
    let strayed = 0;
    const keys: Array<unknown> = [];
    await withServer((_, response) => {
      strayed++;
      response.setHeader("content-type", "application/json").end("[]");
    }, (elsewhere) =>
      withServer((request, response) => {
        keys.push(request.headers["x-api-key"]);
        response.writeHead(status, { location: `${elsewhere}${request.url}` }).end();
      }, async (origin) => {
        const exit = await Effect.runPromiseExit(
          Effect.flatMap(TenantClient.TenantClient, (http) => http.list(pageOf("mia"))).pipe(
            Effect.provide(TenantClient.layerOf(tenantAt(origin))),
            Effect.provide(transport),
          ),
        );
        expect(errorOf(exit)).toMatchObject({ reason: "Redirect", status, attempts: 1 });
        expect(errorOf(exit).message).toContain(`it points to ${elsewhere}/api/users/mia/sessions`);
        expectNothingOf(KEY, everything(exit));
      }));
    expect(keys).toEqual([KEY]);
    expect(strayed).toBe(0);
  });
});
