/** Names what the entries typed with Effect have. */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { SessionSource, TenantClient, Transport } from "monocloud-sessions";
import { Server, Settings } from "monocloud-sessions/effect/server";
import { Thread, ThreadError } from "monocloud-sessions/effect/thread";
import { Warehouse } from "monocloud-sessions/effect/warehouse";
import { make as makeTarget } from "monocloud-sessions/postgres";
import * as Undici from "monocloud-sessions/undici";

const tenant = { domain: "a.example", apiKey: "key" };
const page = Stream.runCount(SessionSource.batches(Stream.make("a")));
const here = TenantClient.layer(tenant).pipe(Layer.provide(Transport.fetch()));
const onNode = TenantClient.layer(tenant).pipe(Layer.provide(Undici.layer));
const thread = Effect.flatMap(Thread.make(), ({ run }) => run({ tenant, users: "all", targets: [] }));
const failed = Effect.catchIf(
  Effect.scoped(thread),
  (error) => error instanceof ThreadError,
  () => Effect.void,
);
const server: Effect.Effect<Server.Server, Settings.ConfigurationError> = Effect.flatMap(
  Settings.load,
  (settings) => Server.make(settings),
);
const target: Warehouse.Target = makeTarget({ url: "postgres://a/b" });
const synced = Effect.catchTag(
  Warehouse.sync({ target, tenant: "https://a.example", users: Warehouse.allUsers(), wait: "1 minute" }),
  "TargetError",
  ({ reason }) => Effect.succeed(reason),
);
const loaded = Warehouse.load({ target, root: "export" });
export const written = [Effect.provide(synced, here), loaded];
export const all = [Effect.provide(page, here), Effect.provide(page, onNode), failed, server];
