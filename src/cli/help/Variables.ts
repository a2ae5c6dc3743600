/** The variables of the environment that the command reads, with what they do. */
import { limits } from "../../server/Limits.ts";
import { variables as serving } from "../../server/Variables.ts";

export interface Variables {
  readonly title: string;
  readonly rows: ReadonlyArray<readonly [name: string, text: string]>;
}

export const variables: ReadonlyArray<Variables> = [
  {
    title: "The tenant",
    rows: [
      [serving.domain, "The tenant, such as acme.eu.monocloud.com; --domain goes before it."],
      [serving.apiKey, "The API key. It has no flag; --api-key-file names a file that holds it."],
      [serving.redactSecret, "The secret that keys the hashes of --redact."],
    ],
  },
  {
    title: "The warehouse",
    rows: [
      [
        "MONOCLOUD_TO",
        "Where sync and load write to, with a password if need be; --to goes before it. For a worker also a folder.",
      ],
      ["PGPASSWORD", "The password of PostgreSQL. PGHOST, PGPORT, PGUSER and PGDATABASE hold as well."],
    ],
  },
  {
    title: "Many machines, besides the above",
    rows: [
      [serving.queueUrl, "The queue, with a password if need be; --queue goes before it. serve shows it."],
      ["MONOCLOUD_SCHEMA", "The schema of a worker's table. (default: monocloud)"],
      ["MONOCLOUD_RATE", "The most requests a second of all workers, or auto; it goes before their --rate."],
      [serving.telemetry, "Where these runs and serve send traces. The other OTEL_ variables hold as well."],
    ],
  },
  {
    title: "The network",
    rows: [
      ["HTTPS_PROXY, HTTP_PROXY", "The proxy to go through, such as http://USER:PASSWORD@HOST:PORT."],
      ["NO_PROXY", "Hosts that are reached without it."],
      ["NODE_EXTRA_CA_CERTS", "A file of certificates to trust, as for a proxy that opens traffic."],
    ],
  },
  { title: "The terminal", rows: [["NO_COLOR", "Print no colours."]] },
  {
    title: "monocloud-sessions serve",
    rows: [
      [serving.token, "What callers have to send; without one, callers on this machine alone are served."],
      [serving.folder, "Where exports go. Without one there are downloads alone."],
      ...Object.values(limits).map(({ variable, text, byDefault }) =>
        [variable, `${text} (default: ${byDefault})`] as const
      ),
      [serving.rate, "The most requests a second to the tenant, or auto. (default: 20)"],
      [serving.log, "Lines about requests and exports: text, json or off. (default: text)"],
    ],
  },
];
