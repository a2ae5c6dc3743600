/** The limiters of tenants at a worker. */
import * as Effect from "effect/Effect";
import * as Redacted from "effect/Redacted";
import { expect, it } from "vitest";
import * as Tenant from "../../src/api/Tenant.ts";
import * as TenantLimiters from "../../src/queue/TenantLimiters.ts";
import * as memory from "./memory.ts";

it("follow the rate that a tenant's file says now", () =>
  Effect.gen(function* () {
    const tenant = yield* Tenant.make({ domain: "https://acme.example", apiKey: Redacted.make("key") });
    const limiterOf = yield* TenantLimiters.make({ values: memory.make(() => Date.now()), rate: 20 });
    const named = (rate?: number) => ({ tenant, rate, redactSecret: undefined });
    const one = yield* limiterOf(named());
    expect(yield* limiterOf(named())).toBe(one);
    expect(one.state().rate).toBe(20);
    expect((yield* limiterOf(named(5))).state().rate).toBe(5);
    yield* one.acquire(1000);
  }).pipe(Effect.scoped, Effect.runPromise));
