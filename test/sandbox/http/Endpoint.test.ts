import * as Either from "effect/Either";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { make, type SandboxUser } from "../../../src/sandbox/mod.ts";
import { decode } from "../../../src/session/Session.ts";
import { ask, askJson, firstUser, request, sessionsPath, walk } from "../ask.ts";

/** The row of MonoCloud's page for the endpoint, field for field. */
const documented = {
  last_updated: 1640975400,
  expires_at: 1640983490,
  last_metadata: {
    country: "United States of America",
    city: "Los Angeles",
    latitude: "34.043238",
    ip_address: "1.1.1.1",
    region: "North America",
    user_agent: "The User Agent",
    longitude: "-118.250918",
  },
  session_key: "CF13F82261B1FCE312E5651500620295BEDBF32207446BA5C1D9B61129F05A22",
  session_id: "96484D319ACC21380CCE026E54807B4D",
  initiated_at: 1640975400,
  client_ids: ["eCOGRJYpnNwwAAuCeReEW"],
};

describe("the list of sessions", () => {
  it("has rows of the documented shape, in which the documented row can stand", async () => {
    expect(Either.isRight(decode(documented))).toBe(true);
    const sandbox = make({ sessionsPerUser: 10 });
    const userId = firstUser(sandbox);
    sandbox.add(userId, documented);
    const [first, ...rest] = await askJson(sandbox, sessionsPath(userId, { size: 20 }));
    expect(first).toEqual(documented);
    expect(Object.keys(first)).toEqual(expect.arrayContaining(Object.keys(rest[0])));
    expect(rest.every((row: unknown) => Either.isRight(decode(row)))).toBe(true);
  });

  it("answers page 1 of 10 in order of initiated_at by default", async () => {
    const sandbox = make({ sessionsPerUser: 25 });
    const userId = firstUser(sandbox);
    const response = await ask(sandbox, `/api/users/${userId}/sessions`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("x-pagination")).toBe(
      '{"page_size":10,"current_page":1,"total_count":25,"has_previous":false,"has_next":true}',
    );
    expect(await response.json()).toEqual([...sandbox.sessions(userId)].slice(0, 10));
  });

  it("says in its header where the page is", async () => {
    const sandbox = make({ sessionsPerUser: 20 });
    const pagination = async (page: number) => {
      const response = await ask(sandbox, sessionsPath(firstUser(sandbox), { page }));
      const { has_previous, has_next } = JSON.parse(response.headers.get("x-pagination") ?? "");
      return [(await response.json()).length, has_previous, has_next];
    };
    expect(await pagination(1)).toEqual([10, false, true]);
    expect(await pagination(2)).toEqual([10, true, false]);
    expect(await pagination(3)).toEqual([0, true, false]);
  });

  it("keeps to the sessions of a client", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 200 });
    const userId = firstUser(sandbox);
    for (const client_id of sandbox.clientIds) {
      const expected = [...sandbox.sessions(userId)].filter((session) =>
        session.client_ids.includes(client_id)
      );
      expect(expected.length).toBeGreaterThan(0);
      expect(await walk(sandbox, userId, { client_id, size: 10 })).toEqual(expected);
    }
    expect(await walk(sandbox, userId, { client_id: "nobody", size: 10 })).toEqual([]);
  });

  it("names each parameter that is wrong", async () => {
    const sandbox = make();
    const wrong = {
      page: ["0", "-1", "x", "1.5", ""],
      size: ["0", "x"],
      sort: ["initiated_at", "user_id:1", "x:-1", ""],
    };
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values) {
        const response = await ask(sandbox, sessionsPath(firstUser(sandbox), { [name]: value }));
        expect(response.status, `${name}=${value}`).toBe(422);
        expect(response.headers.get("content-type")).toBe("application/problem+json");
        const body = await response.json();
        expect(body.type).toBe("https://httpstatuses.io/422#validation-error");
        expect(body.errors).toEqual({ [name]: [expect.stringContaining(`'${value}'`)] });
      }
    }
    expect(
      Object.keys((await askJson(sandbox, sessionsPath(firstUser(sandbox), { page: 0, size: 0 }))).errors),
    )
      .toEqual(["page", "size"]);
  });

  it("is the same, byte for byte, for the same options", async () => {
    const text = async (seed: number) => {
      const sandbox = make({ seed, unknownFields: true, malformed: 0.2 });
      return (await ask(sandbox, sessionsPath(firstUser(sandbox), { size: 50, sort: "last_updated:-1" })))
        .text();
    };
    expect(await text(3)).toBe(await text(3));
    expect(await text(3)).not.toBe(await text(4));
  });
});

interface WithEmail {
  readonly emails: readonly { readonly email: string }[];
}

describe("the list of users", () => {
  it("lists every user once, in either order of either key", async () => {
    for (const users of [0, 1, 2, 23]) {
      const sandbox = make({ users });
      for (const key of ["creation_time", "last_updated"] as const) {
        for (const order of [1, -1]) {
          const rows: SandboxUser[] = [];
          for (let page = 1; page <= 4; page++) {
            rows.push(...await askJson(sandbox, `/api/users?page=${page}&size=7&sort=${key}:${order}`));
          }
          expect(rows.map((row) => row.user_id).sort()).toEqual([...sandbox.userIds()].sort());
          expect(rows.map((row) => row[key])).toEqual(
            rows.map((row) => row[key]).sort((a, b) => (a - b) * order),
          );
          expect(rows.every((row) => row.last_updated >= row.creation_time)).toBe(true);
        }
      }
    }
  });

  it("is in order of creation_time by default, with the pagination of any list", async () => {
    const sandbox = make({ users: 12 });
    const response = await ask(sandbox, "/api/users");
    expect(JSON.parse(response.headers.get("x-pagination") ?? "").total_count).toBe(12);
    expect((await response.json()).map((row: SandboxUser) => row.user_id)).toEqual(
      [...sandbox.userIds()].slice(0, 10),
    );
  });

  it("keeps to the emails that contain the filter", async () => {
    const rows: WithEmail[] = await askJson(
      make({ users: 30 }),
      "/api/users?filter=user1&size=100&sort=last_updated:-1",
    );
    expect(rows.map((row) => row.emails[0]?.email.split("@")[0]).sort()).toEqual(
      ["user1", ...Array.from({ length: 10 }, (_, index) => `user1${index}`)],
    );
  });
});

describe("any other request", () => {
  it("with a wrong key or none is answered 401", async () => {
    const sandbox = make({ key: "right" });
    const headers: HeadersInit[] = [{ "x-api-key": "wrong" }, {}];
    for (const each of headers) {
      const response = await sandbox.fetch(request(sandbox, "/api/users", { headers: each }));
      expect(response.status).toBe(401);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
    }
    expect((await ask(sandbox, "/api/users")).status).toBe(200);
  });

  it("for an unknown user never resolves, however the id is written", async () => {
    const sandbox = make({ users: 50 });
    await fc.assert(fc.asyncProperty(fc.string({ unit: "grapheme" }), async (id) => {
      for (const segment of [encodeURIComponent(id), id]) {
        const target = `/api/users/${segment}/sessions`;
        const answer = await sandbox.answer({ method: "GET", target, key: sandbox.key });
        expect(answer.status).toBe(404);
      }
    }));
    for (const id of [".", "..", "%2e", "%2E%2e", "", "%", "%ff"]) {
      const target = `/api/users/${id}/sessions`;
      expect(await sandbox.answer({ method: "GET", target, key: sandbox.key })).toMatchObject({
        status: 404,
      });
    }
  });

  it("finds a user whose id is percent-encoded", async () => {
    const sandbox = make({ sessionsPerUser: 1 });
    const encoded = [...firstUser(sandbox)].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join("");
    expect((await ask(sandbox, `/api/users/${encoded}/sessions`)).status).toBe(200);
  });

  it("for one user gives that user as the list has it", async () => {
    const sandbox = make({ users: 1 });
    const [listed] = await (await ask(sandbox, "/api/users")).json();
    expect(await (await ask(sandbox, `/api/users/${firstUser(sandbox)}`)).json()).toEqual(listed);
  });

  it("elsewhere is answered 404, and with another method 405", async () => {
    const sandbox = make();
    const userId = firstUser(sandbox);
    for (
      const path of [
        "/",
        "/api",
        "/api/users/",
        "/api/users/nobody",
        `/api/users/${userId}/sessions/`,
        "/x",
      ]
    ) {
      expect((await ask(sandbox, path)).status, path).toBe(404);
    }
    for (const method of ["POST", "DELETE", "PUT", "HEAD"]) {
      const response = await sandbox.fetch(request(sandbox, sessionsPath(userId), {
        method,
        headers: { "x-api-key": sandbox.key },
      }));
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe("GET");
    }
  });

  it("is counted by its status", async () => {
    const sandbox = make();
    await ask(sandbox, "/api/users");
    await ask(sandbox, "/api/users");
    await ask(sandbox, "/elsewhere");
    expect(sandbox.counts).toEqual({ total: 3, byStatus: { 200: 2, 404: 1 }, byFault: {} });
  });
});
