/** A job of a contender. */
import type { TenantClient } from "monocloud-sessions";

/** Something to get out of the tenant. */
export interface Job {
  readonly contender: "limit" | "sdkLoop" | "gotPaginate" | "ours";
  readonly url: string;
  readonly users: ReadonlyArray<string>;
  readonly pageSize: number;
  /** Requests at once. @default {of ours alone: as many as it finds} */
  readonly concurrency?: number | undefined;
  /** Requests a second: of ours alone. @default {more than can be made} */
  readonly rate?: TenantClient.TenantClientOptions["rate"];
  /** @default {"node"} */
  readonly runtime?: "node" | "deno" | undefined;
  /** True where rows make every walk unverified. */
  readonly isUnverified?: boolean | undefined;
  /** Paths by format. Contenders that write one format take the first. */
  readonly out: Readonly<Record<string, string>>;
}
