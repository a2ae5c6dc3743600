/**
 * One export of the server: from its description to a dataset.
 *
 * @module
 */
import * as SessionFilters from "../../api/SessionFilters.ts";
import { identity } from "effect/Function";
import type { Batch } from "../../session/Batch.ts";
import * as Dataset from "../../dataset/Dataset.ts";
import * as UserList from "../../source/UserList.ts";
import type * as Export from "../../export/Export.ts";
import * as Formats from "../../format/Formats.ts";
import * as Redaction from "../../session/Redaction.ts";
import type { Settings } from "../Settings.ts";
import type * as Job from "./Job.ts";
import type * as Metrics from "../telemetry/Metrics.ts";

/** Context of an export. */
export interface JobRunOptions {
  /** The folder of its dataset. */
  readonly root: string;
  readonly settings: Pick<Settings, "tenant" | "redactSecret">;
  readonly progress: Export.Progress;
  readonly meter: Metrics.Meter;
}

/** Run an export, from its last checkpoint if it has one. */
export const run = (description: Job.Description, { root, settings, progress, meter }: JobRunOptions) => {
  const { users, formats, page_size, part_rows, on_invalid, redact } = description;
  const policy = redact && Redaction.settle(redact);
  const redacted: (batch: Batch) => Batch = policy === undefined
    ? identity
    : Redaction.make(policy, settings.redactSecret);
  return Dataset.run({
    root,
    formats: formats.map((format) => Formats.choose(format)!),
    users: users === "all" ? UserList.all() : UserList.of(users),
    tenant: settings.tenant.origin,
    mode: "resume",
    walk: { ...SessionFilters.fromQuery(description), pageSize: page_size },
    options: { keepFormulas: false, redact: policy },
    onInvalid: on_invalid,
    partRows: part_rows,
    change: (batch) => redacted(meter.batch(batch)),
    progress,
  });
};
