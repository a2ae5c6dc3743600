/**
 * How commands reach the tenant.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as HttpPolicy from "../tenant/HttpPolicy.ts";
import type * as Tenant from "../tenant/Tenant.ts";
import type * as Transport from "../tenant/Transport.ts";

/** What brings requests to the tenant: undici on Node, which is loaded only when it is used, and `fetch` elsewhere. */
const transport: Layer.Layer<Transport.Transport> = Layer.unwrapEffect(
  Effect.promise(async () =>
    "Deno" in globalThis || "Bun" in globalThis
      ? (await import("../tenant/Transport.ts")).fetch()
      : (await import("../tenant/Undici.ts")).layer
  ),
);

/** The tenant under its policy. */
export const httpFor = (tenant: Tenant.Tenant, policy: HttpPolicy.HttpPolicyOptions) =>
  Layer.provide(HttpPolicy.layer(tenant, policy), transport);
