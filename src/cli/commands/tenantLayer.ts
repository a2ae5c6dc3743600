/** The layer that leads to the tenant, which tells every request where that is asked for. */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import type * as Tenant from "../../api/Tenant.ts";
import * as TenantClient from "../../api/TenantClient.ts";
import type { RateLimiter } from "../../api/rate/RateLimiter.ts";
import { Transport } from "../../api/transport/Transport.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Tracing from "./tracing.ts";

type Get = typeof Transport.Service["get"];

/** Say what was asked for, what came and how long it took. The key is in a header, which nobody prints. */
const telling = (get: Get, origin: string): Get => (url, headers, receiver) =>
  Effect.suspend(() => {
    const began = performance.now();
    let status: number | undefined;
    const tell = (outcome: string) =>
      Terminal.say([
        `GET ${url.slice(origin.length)} ${status ?? "no answer"}${outcome} ${
          Math.round(performance.now() - began)
        } ms`,
      ]);
    return Effect.onExit(
      get(url, headers, {
        whenAborted: (abort) => receiver.whenAborted(abort),
        onGrowth: (bytes) => receiver.onGrowth(bytes),
        onHead: (answered, head) => {
          status = answered;
          receiver.onHead(answered, head);
        },
      }),
      (exit) => tell(Exit.isSuccess(exit) ? "" : Exit.isInterrupted(exit) ? ", given up" : ", broken off"),
    );
  });

export const tenantLayer = (
  tenant: Tenant.Tenant,
  limits: TenantClient.TenantClientOptions,
  isVerbose: boolean,
  queue?: { readonly limiter: RateLimiter; readonly traces: string | undefined },
): Layer.Layer<TenantClient.TenantClient> => {
  const told = Layer.effect(
    Transport,
    Effect.map(Transport, ({ get }) => ({ get: telling(get, tenant.origin) })),
  );
  const plain = Tracing.transport(queue?.traces);
  const transport = isVerbose ? Layer.provide(told, plain) : plain;
  return Layer.provide(TenantClient.layerOf(tenant, limits, queue?.limiter), transport);
};
