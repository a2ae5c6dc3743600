/** Names what the entries typed with Effect have. */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { HttpPolicy, SessionsApi, Transport } from "monocloud-sessions";
import { Config, Worker } from "monocloud-sessions/effect/server";
import { Thread, ThreadError } from "monocloud-sessions/effect/thread";
import * as Undici from "monocloud-sessions/undici";

const tenant = { domain: "a.example", apiKey: "key" };
const page = SessionsApi.page("a", { page: 1, size: 5 });
const here = HttpPolicy.connect(tenant).pipe(Layer.provide(Transport.fetch()));
const onNode = HttpPolicy.connect(tenant).pipe(Layer.provide(Undici.layer));
const thread = Effect.flatMap(Thread.make(), ({ run }) => run({ tenant, users: "all", targets: [] }));
const failed = Effect.catchIf(
  Effect.scoped(thread),
  (error) => error instanceof ThreadError,
  () => Effect.void,
);
const worker: Effect.Effect<Worker.Worker, Config.ConfigurationError> = Effect.flatMap(
  Config.load,
  (settings) => Worker.make(settings),
);
export const all = [Effect.provide(page, here), Effect.provide(page, onNode), failed, worker];
