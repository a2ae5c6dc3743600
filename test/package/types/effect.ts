/** Names what the entries typed with Effect have. */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { SessionSource, TenantClient, Transport } from "monocloud-sessions";
import { Server, Settings } from "monocloud-sessions/effect/server";
import { Thread, ThreadError } from "monocloud-sessions/effect/thread";
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
export const all = [Effect.provide(page, here), Effect.provide(page, onNode), failed, server];
