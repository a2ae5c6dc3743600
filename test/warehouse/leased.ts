/** A sync as a process of its own, with a lease that the command has no flag for. Its argument says what, as JSON. */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import { codeOf } from "../../src/cli/ExitCode.ts";
import * as UserList from "../../src/source/UserList.ts";
import * as Sync from "../../src/warehouse/Sync.ts";
import * as Targets from "../../src/warehouse/targets/Targets.ts";

/** What it is told. */
export interface Told {
  readonly to: string;
  readonly domain: string;
  readonly key: string;
  readonly leaseSeconds: number;
  readonly checkpointRows?: number;
  readonly prune?: boolean;
}

const { to, domain, key, leaseSeconds, ...rest }: Told = JSON.parse(process.argv[2]!);
const tenant = Layer.provide(
  TenantClient.layer({ domain, apiKey: key, rate: 10_000 }),
  Transport.fetch(fetch),
);
const syncing = Sync.sync({
  target: Targets.named(to),
  tenant: domain,
  users: UserList.all(),
  lease: leaseSeconds * 1000,
  // As the command has it, so that it asks for the same.
  lookback: 300,
  walk: { pageSize: 10, concurrency: 1 },
  ...rest,
});
const exit = await Effect.runPromise(Effect.either(Effect.provide(syncing, tenant)));
if (exit._tag === "Left") {
  const { message, reason } = exit.left as { readonly message: string; readonly reason?: string };
  console.error(`${reason}: ${message}`);
}
process.exit(exit._tag === "Right" ? 0 : codeOf(exit.left) ?? 70);
