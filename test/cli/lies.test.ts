/** The command against what stands between: a tenant that tells lies over HTTP, a domain where something else answers. */
import type { RequestListener } from "node:http";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { newFolder } from "../folders.ts";
import { lies, type LyingOptions, make } from "../source/lyingTenant.ts";
import { answering, keysIn, run } from "./command.ts";

/** The tenant, some of whose answers may be replaced. */
const listening = (
  tenant: ReturnType<typeof make>,
  instead: (url: string) => { readonly status: number; readonly body: string } | undefined = () => undefined,
): RequestListener =>
({ url = "" }, response) => {
  const replaced = instead(url);
  const { status, headers, body } = replaced === undefined
    ? tenant.answer(url)
    : { headers: { "content-type": "application/problem+json" }, ...replaced };
  response.writeHead(status, headers).end(body);
};

const keysOf = (tenant: ReturnType<typeof make>, without?: string): ReadonlyArray<string> =>
  [...tenant.there].filter(([id]) => id !== without)
    .flatMap(([id, sessions]) => [...sessions].map((session) => `${id} ${session}`)).sort();

const gone = { status: 404, body: JSON.stringify({ title: "Not Found", status: 404 }) };

it("exports all of a tenant that tells every lie once, verified, with exit code 0", async () => {
  for (const about of ["sessions", "users"] as const) {
    const options: LyingOptions = {
      seed: 7,
      sessions: Array.from({ length: 240 }, (_, n) => n < 8 ? 40 * n : 1),
      maxSize: 100,
      about,
      lies: lies.map((lie) => [lie, "once"] as const),
    };
    const tenant = make(options);
    const { env } = await answering(listening(tenant));
    const out = join(await newFolder(), "s.ndjson");
    const { code, out: printed, err } = await run(
      ["export", "--all-users", "--out", out, "--json", "--rate", "1000/s"],
      { env },
    );
    expect([code, err.includes("Warning")], err).toEqual([0, false]);
    expect(JSON.parse(printed)).toMatchObject({ verified: true, user_list_unverified_reasons: [] });
    expect(keysIn(await readFile(out, "utf8"))).toEqual(keysOf(tenant));
  }
});

it("says with exit code 4 what can't be proven, where a lie is told for good", async () => {
  const tenant = make({ seed: 3, sessions: [5, 250], lies: [["short", "always"]] });
  const { env } = await answering(listening(tenant));
  const out = join(await newFolder(), "s.ndjson");
  const { code, out: printed } = await run(["export", "--all-users", "--out", out, "--json"], { env });
  expect(code).toBe(4);
  expect(JSON.parse(printed)).toMatchObject({ verified: false, unverified: { count: 2 } });
});

it("takes a user that goes while it is walked for removed: a fault only where the user was named", async () => {
  for (const isNamed of [false, true]) {
    const tenant = make({ seed: 5, sessions: [250, 20] });
    const [first = ""] = tenant.userIds;
    let asked = 0;
    const { env } = await answering(
      listening(tenant, (url) => url.includes(`/users/${first}`) && ++asked > 1 ? gone : undefined),
    );
    const out = join(await newFolder(), "s.ndjson");
    const users = isNamed ? tenant.userIds.flatMap((id) => ["--user", id]) : ["--all-users"];
    const { code, out: printed } = await run(["export", ...users, "--out", out, "--json"], { env });
    expect(JSON.parse(printed)).toMatchObject({ verified: true, missing: { count: 1, first: [first] } });
    expect(code).toBe(isNamed ? 4 : 0);
  }
});

it("ends with exit code 76 within seconds where something other than the API answers with 404", async () => {
  for (
    const [type, body, words] of [
      ["text/html", "<h1>Not Found</h1>", "A web page answered in the API's place"],
      ["application/json", `{"message":"no route"}`, "Something other than the API answered"],
    ]
  ) {
    let requests = 0;
    const { env } = await answering((_, response) => {
      requests++;
      response.writeHead(404, { "content-type": type! }).end(body);
    });
    const out = join(await newFolder(), "s.ndjson");
    const { code, err } = await run(["export", "--all-users", "--out", out, "--quiet"], { env });
    expect(code, err).toBe(76);
    expect(err).toContain("(after 3 attempts)");
    expect(err).toContain(words);
    // A large page is asked for once; then a smaller one, as often as a stranger is.
    expect(requests).toBe(4);
  }
});
