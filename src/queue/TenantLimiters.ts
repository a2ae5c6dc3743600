/** The limiters of tenants, one each, made when the first shard of a tenant comes. */
import * as Effect from "effect/Effect";
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

/** Make the limiters. A rate belongs to the tenant, by its origin, whatever name it has here. */
export const make = (
  { values, rate }: TenantLimitersOptions,
): Effect.Effect<(tenant: NamedTenant) => Effect.Effect<RateLimiter>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const limiters = new Map<string, Effect.Effect<RateLimiter>>();
    return ({ tenant: { origin }, rate: own = rate }) =>
      Effect.suspend(() => {
        let limiter = limiters.get(origin);
        if (limiter === undefined) {
          const making = Scope.extend(SharedRate.make({ values, tenant: origin, rate: own }), scope);
          limiter = Effect.runSync(Effect.cached(making));
          limiters.set(origin, limiter);
        }
        return limiter;
      });
  });
