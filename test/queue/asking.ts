/** A process that asks a tenant for pages without end, at a rate that it shares. Its argument says what, as JSON. */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Tenant from "../../src/api/Tenant.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as QueueServer from "../../src/queue/QueueServer.ts";
import type { Ceiling } from "../../src/queue/RateLedger.ts";
import * as SharedRate from "../../src/queue/SharedRate.ts";

/** Tells it what to do. */
export interface Told {
  /** URL of the queue's server. */
  readonly url: string;
  readonly domain: string;
  /** Key by which the tenant tells the processes apart. */
  readonly key: string;
  readonly rate: Ceiling;
  readonly concurrency: number;
}

const { url, domain, key, rate, concurrency }: Told = JSON.parse(process.argv[2]!);
const values = await QueueServer.open(QueueServer.parse(url));

const asking = Effect.scoped(Effect.gen(function* () {
  const limiter = yield* SharedRate.make({ values, tenant: "acme", rate });
  const tenant = Either.getOrThrow(Tenant.make({ domain, apiKey: key }));
  const client = yield* TenantClient.make(tenant, {}, limiter);
  const one = client.list({
    path: "/api/users/mia/sessions",
    query: { page: "1" },
    page: 1,
    decode: () => [],
  });
  yield* Effect.all(Array.from({ length: concurrency }, () => Effect.forever(one)), {
    concurrency: "unbounded",
    discard: true,
  });
}));

await Effect.runPromise(Effect.provide(asking, Transport.fetch(fetch)));
