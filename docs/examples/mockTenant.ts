/**
 * A mock tenant in a unit test: code of yours that exports, over a tenant that fails now and then, and loses sessions
 * while it is read.
 *
 * Run: `deno test -A docs/examples/mockTenant.ts`. With Node 22.18 or later: `npm run build`, then
 * `node --test docs/examples/mockTenant.ts`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isApiError, sessions, type TenantOptions } from "monocloud-sessions/promise";
import { make, type Sandbox } from "monocloud-sessions/sandbox";

/** The code under test. */
const countByCountry = async (tenant: TenantOptions): Promise<Map<string, number>> => {
  const counts = new Map<string, number>();
  for await (const { last_metadata } of sessions({ ...tenant, users: "all" })) {
    const country = last_metadata?.country ?? "unknown";
    counts.set(country, (counts.get(country) ?? 0) + 1);
  }
  return counts;
};

const tenantOf = (sandbox: Sandbox): TenantOptions => ({
  domain: "sandbox.example",
  apiKey: sandbox.key,
  fetch: (input, init) => sandbox.fetch(new Request(input, init)),
  rate: 1000,
  baseDelay: 1,
});

const sum = (counts: Map<string, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);

test("counts each session once, though one request in ten fails", async () => {
  const sandbox = make({ users: 10, sessionsPerUser: 15, faults: { "503": 0.05, reset: 0.05 } });
  assert.equal(sum(await countByCountry(tenantOf(sandbox))), 150);
});

test("says which status ended it", async () => {
  const tenant = { ...tenantOf(make({ users: 1 })), apiKey: "sandbox-key-that-was-revoked" };
  await assert.rejects(countByCountry(tenant), (error) => isApiError(error) && error.status === 401);
});
