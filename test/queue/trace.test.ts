/** One trace over all machines, as a collector gets it from the command that begins a run and from its workers. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { begin, type Running, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { collector, sentIn, valuesOf } from "../server/collector.ts";
import { place } from "../server/machines.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";

describe.skipIf(!hasPostgres)("over a queue in PostgreSQL", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });

  /** Begin a process that names itself to the collector. */
  const named = (name: string, args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
    begin([...args, "--rate", "1000/s"], {
      env: { ...env, OTEL_RESOURCE_ATTRIBUTES: `service.instance.id=${name}` },
    });

  const sync = ["sync", "--all-users", "--page-size", "10"];

  const ended = async (workers: ReadonlyArray<Running>) => {
    for (const worker of workers) worker.kill("SIGTERM");
    for (const worker of workers) expect(await worker.done).toMatchObject({ code: 0 });
  };

  it.each(["table", "folder"])(
    "has the run into a %s, its shards at two workers, and all requests, and names no user, key or URL",
    async (kind) => {
      const { bodies, url } = await collector();
      const { sandbox, env: there } = await place(postgres(), { users: 80, faults: { latencyMs: 100 } });
      const folder = join(await newFolder(), "data");
      const env = {
        ...there,
        ...(kind === "folder" && { MONOCLOUD_TO: folder }),
        OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/`,
      };
      const workers = ["one", "two"].map((name) => named(name, ["work", "--at-once", "1"], env));
      for (const { err } of workers) await until(() => err().includes("worker "), "a worker has begun");
      const to = kind === "table" ? sync : ["export", "--all-users", "--out", folder, "--format", "csv"];
      const { code, err } = await named("submitter", [...to, "--shards", "8"], env).done;
      expect([code, err]).toEqual([0, expect.any(String)]);
      await ended(workers);

      const spans = sentIn(bodies);
      const of = (name: string) => spans.filter((span) => span.name === name);
      expect(new Set(spans.map(({ name }) => name))).toEqual(new Set(["run", "shard", "tenant request"]));
      expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
      const [run, ...others] = of("run");
      expect(others).toEqual([]);
      expect([run!.from["service.instance.id"], run!.parentSpanId]).toEqual(["submitter", undefined]);
      const told = valuesOf(run!.attributes);
      expect(told).toMatchObject({ tenant: "default", target: "default", kind, job: expect.any(String) });

      const shards = of("shard");
      expect(shards.map(({ parentSpanId }) => parentSpanId)).toEqual(shards.map(() => run!.spanId));
      expect(new Set(shards.map(({ from }) => from["service.instance.id"]))).toEqual(new Set(["one", "two"]));
      const attributes = shards.map(({ attributes }) => valuesOf(attributes));
      expect([attributes.length, new Set(attributes.map(({ shard }) => shard)).size]).toEqual([8, 8]);
      for (const its of attributes) {
        expect(its).toMatchObject({ job: told["job"], tenant: "default", attempt: "1" });
      }
      const requests = of("tenant request");
      expect(requests.length).toBe(sandbox.counts.total);
      const above = new Set([run!, ...shards].map(({ spanId }) => spanId));
      expect(requests.filter(({ parentSpanId }) => !above.has(parentSpanId!))).toEqual([]);

      const sent = bodies.join("\n");
      const secrets = [sandbox.key, env.PGPASSWORD, env.MONOCLOUD_DOMAIN, "postgres://", folder];
      for (const secret of [...secrets, ...sandbox.userIds()]) expect(sent).not.toContain(secret);
    },
    60_000,
  );

  it("has the reason of a shard that failed, and not its words", async () => {
    const { bodies, url } = await collector();
    const { env: there } = await place(postgres(), { users: 4 });
    const env = { ...there, OTEL_EXPORTER_OTLP_ENDPOINT: url };
    const worker = named("worker", ["work"], { ...env, MONOCLOUD_API_KEY: "another-key" });
    const syncing = await named("submitter", [...sync, "--shards", "1", "--quiet"], env).done;
    expect(syncing).toMatchObject({ code: 75, err: expect.stringContaining("1 of 1 shards failed") });
    await ended([worker]);
    const spans = sentIn(bodies);
    const shards = spans.filter(({ name }) => name === "shard");
    // A key that is refused is not tried again.
    expect(shards.map(({ attributes }) => valuesOf(attributes)["attempt"])).toEqual(["1"]);
    for (const { attributes, events, status } of shards) {
      expect([valuesOf(attributes)["reason"], events, status.message]).toEqual([
        "ApiError.Unauthorized",
        [],
        undefined,
      ]);
    }
    const [run] = spans.filter(({ name }) => name === "run");
    expect(valuesOf(run!.attributes)).toMatchObject({ reason: expect.stringMatching(/^\w+Error\.\w+$/) });
    expect(run!.events).toEqual([]);
    expect(bodies.join("\n")).not.toContain("another-key");
  });

  it("has a run whose command was interrupted", async () => {
    const { bodies, url } = await collector();
    const { env } = await place(postgres(), { users: 4 });
    const syncing = named("submitter", [...sync, "--shards", "2"], {
      ...env,
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
    });
    // It waits for workers.
    await until(() => syncing.err().includes("0 workers"), "the shards are in the queue");
    syncing.kill("SIGINT");
    expect(await syncing.done).toMatchObject({ code: 75, err: expect.stringContaining("Interrupted: ") });
    const [run] = sentIn(bodies).filter(({ name }) => name === "run");
    expect(valuesOf(run!.attributes)).toMatchObject({ job: expect.any(String), tenant: "default" });
    expect(run!.events).toEqual([]);
  });

  it("is cut where a worker is told to stop, and goes on at the next", async () => {
    const { bodies, url } = await collector();
    const { env: there } = await place(postgres(), {
      users: 4,
      sessionsPerUser: 200,
      faults: { latencyMs: 30 },
    });
    const env = { ...there, OTEL_EXPORTER_OTLP_ENDPOINT: url };
    const first = named("one", ["work"], env);
    const syncing = named("submitter", [...sync, "--shards", "2", "--concurrency", "1"], env);
    await until(() => /begun[^]*begun/.test(first.err()), "both shards are begun");
    await ended([first]);
    expect(first.err()).toContain("handed back");
    const second = named("two", ["work"], env);
    expect(await syncing.done).toMatchObject({ code: 0 });
    await ended([second]);
    const shards = sentIn(bodies).filter(({ name }) => name === "shard");
    const by = (name: string) => shards.filter(({ from }) => from["service.instance.id"] === name);
    expect([by("one").length, by("two").length]).toEqual([2, 2]);
    expect(new Set(shards.map(({ traceId }) => traceId)).size).toBe(1);
    // One that is told to stop may be given a shard once more, and hands it back at once.
    for (const { attributes } of by("two")) {
      expect(Number(valuesOf(attributes)["attempt"])).toBeGreaterThan(1);
    }
  });
});

it("a collector's URL that is none is refused", async () => {
  const { code, err } = await begin(["work", "--queue", "redis://127.0.0.1:1"], {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: "collector" },
  }).done;
  expect([code, err]).toEqual([
    2,
    expect.stringContaining("OTEL_EXPORTER_OTLP_ENDPOINT must be the URL of a collector"),
  ]);
});
