/** The flags of runs on many machines, and of the workers that do them. */
import type * as Command from "./Command.ts";
import * as Flag from "./Flag.ts";
import * as Read from "./Read.ts";
import * as Shared from "./SharedFlags.ts";

const queue = Flag.text({
  name: "queue",
  placeholder: "URL",
  text: "postgres://USER@HOST/DATABASE or redis://HOST, which all machines reach. " +
    "A password goes into MONOCLOUD_QUEUE, PGPASSWORD or ~/.pgpass.",
  byDefault: "MONOCLOUD_QUEUE",
});

const tenants = Flag.text({
  name: "tenants",
  placeholder: "DIR",
  text: "A file NAME.env for each tenant, of mode 600, with MONOCLOUD_DOMAIN and MONOCLOUD_API_KEY.",
  byDefault: "the environment is the tenant default",
  isPath: true,
});

const targets = Flag.text({
  name: "targets",
  placeholder: "DIR",
  text: "A file NAME.env for each target, of mode 600, with MONOCLOUD_TO: a database, or a shared folder.",
  byDefault: "the environment is the target default",
  isPath: true,
});

const name = (what: string, text: string) =>
  Flag.value({
    name: what,
    placeholder: "NAME",
    text,
    byDefault: "default",
    read: (text) => text,
    must: "a name",
  });

/** Flags of a run whose shards workers do. The help of workers says more of what they have in common. */
export const running = {
  queue: {
    ...queue,
    text: "Have workers do it, by postgres://USER@HOST/DB or redis://HOST. " +
      "A password goes into MONOCLOUD_QUEUE, PGPASSWORD or ~/.pgpass.",
    byDefault: "",
  },
  shards: Flag.optional({
    name: "shards",
    placeholder: "N",
    text: "Split it so, for --queue or MONOCLOUD_QUEUE.",
    byDefault: "64",
    ...Read.whole(1, 9999),
  }),
  tenant: name("tenant", "The tenant's name at the workers."),
  target: name("target", "Its table or folder at the workers."),
  tenants: { ...tenants, text: "Files NAME.env, as for work.", byDefault: "the environment" },
  targets: { ...targets, text: "The same for tables and folders.", byDefault: "the environment" },
};

/** Flags of a worker. */
const working = {
  queue,
  tenants,
  targets,
  atOnce: Flag.value({
    name: "at-once",
    placeholder: "N",
    text: "Shards of one tenant to work on at once.",
    byDefault: "2",
    ...Read.whole(1, 1000),
  }),
  lease: Flag.value({
    name: "lease",
    placeholder: "TIME",
    text: "Without a sign of life for so long, a worker's shards go to others.",
    byDefault: "30s",
    ...Read.duration,
  }),
};

export const workGroups = [
  { title: "Where from", flags: working },
  { title: "How fast, in all", flags: { rate: Shared.rate } },
] satisfies ReadonlyArray<Flag.Group>;

export type WorkArgs = Command.Args<typeof workGroups>;
