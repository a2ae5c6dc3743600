/** `monocloud-sessions work`. */
import * as Effect from "effect/Effect";
import * as Command from "../options/Command.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { working } from "../options/QueueFlags.ts";
import * as Shared from "../options/SharedFlags.ts";

const speed = { rate: Shared.rate };

export const spec: CommandSpec = {
  name: "work",
  summary: "Do the shards of runs on many machines, until told to stop: then hand back what is under way.",
  groups: [{ title: "Where from", flags: working }, { title: "How fast, in all", flags: speed }],
  examples: [
    [
      "work --queue postgres://queue@db/jobs",
      "With MONOCLOUD_DOMAIN, MONOCLOUD_API_KEY and MONOCLOUD_TO set",
    ],
    [
      "work --queue redis://queue --tenants tenants --targets targets",
      "Many tenants, each in a file of its own",
    ],
  ],
};

/** The command. What it runs is loaded once it runs: help has no need of it. */
export const command = Command.make(
  spec,
  { ...working, ...speed },
  (args) => Effect.flatMap(Effect.promise(() => import("./working.ts")), ({ run }) => run(args)),
);
