/** The limiters of tenants, one each, made when the first shard of a tenant comes. */
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import * as Scope from "effect/Scope";
import type { RateLimiter } from "../api/rate/RateLimiter.ts";
import type { NamedTenant } from "./Names.ts";
import * as SharedRate from "./SharedRate.ts";
import type { Values } from "./Values.ts";

export interface TenantLimitersOptions {
  readonly values: Values;
  /** Requests a second of a tenant whose file says nothing. */
  readonly rate: number | "auto";
}

/** Make the limiters. A rate belongs to the tenant, by its origin, whatever name it has here; each that its file says has one. */
export const make = (
  { values, rate }: TenantLimitersOptions,
): Effect.Effect<(tenant: NamedTenant) => Effect.Effect<RateLimiter>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope;
    // At once: whoever asks first may be interrupted.
    const runSync = Runtime.runSync(yield* Effect.runtime<never>());
    const limiters = new Map<string, RateLimiter>();
    return ({ tenant: { origin }, rate: own = rate }: NamedTenant) =>
      Effect.sync(() => {
        const key = `${own} ${origin}`;
        const limiter = limiters.get(key) ??
          runSync(Scope.extend(SharedRate.make({ values, tenant: origin, rate: own }), scope));
        limiters.set(key, limiter);
        return limiter;
      });
  });
