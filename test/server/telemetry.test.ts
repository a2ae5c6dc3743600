/** Traces, as a collector of OTLP over HTTP gets them. */
import { describe, expect, it } from "vitest";
import { tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { collector, spansIn } from "./collector.ts";
import { bothRuntimes, ended, serve, startExport, stop, token } from "./serving.ts";

describe.each(bothRuntimes)("on %s", (runtime) => {
  it("downloads, exports and requests are traced, without keys, tokens and ids of users", async () => {
    const { sandbox, env } = await tenant({ users: 3, faults: { "500": 0.2 } });
    const { bodies, url } = await collector();
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: await newFolder(),
      OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/`,
    });
    const [userId = ""] = sandbox.userIds();
    await (await server.ask(`/v1/users/${userId}/sessions.csv`)).text();
    await ended(server, await startExport(server, { users: "all", formats: ["csv"] }), "done");
    expect(await stop(server)).toMatchObject({ code: 0 });
    const sent = bodies.join("\n");
    expect(bodies.every((body) => body.startsWith("/v1/traces {"))).toBe(true);
    const spans = spansIn(bodies);
    const named = (name: string) => spans.filter((span) => span.name === name);
    expect([named("download").length, named("export").length]).toEqual([1, 1]);
    expect(named("tenant request").length).toBe(sandbox.counts.total);
    const traces = new Set(named("tenant request").map(({ traceId }) => traceId));
    expect(traces.has(named("download")[0]!.traceId)).toBe(true);
    expect(traces.has(named("export")[0]!.traceId)).toBe(true);
    for (const secret of [sandbox.key, token, ...sandbox.userIds()]) expect(sent).not.toContain(secret);
  });

  it("what fails is traced by its reason, and not by its words, which name users", async () => {
    const { sandbox, env } = await tenant({ users: 1, sessionsPerUser: 50, malformed: 1 });
    const { bodies, url } = await collector();
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: await newFolder(),
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
    });
    const [userId = ""] = sandbox.userIds();
    const users = ["who-is-not-there", userId] as const;
    const statuses: Array<number> = [];
    for (const id of users) {
      statuses.push((await server.ask(`/v1/users/${id}/sessions.csv`)).status);
      const description = { users: [id], formats: ["csv"], on_invalid: "fail" };
      const { error } = await ended(server, await startExport(server, description), "failed");
      expect(error!.message).toContain(id);
      expect(server.running.err()).not.toContain(id);
    }
    expect(statuses).toEqual([404, 502]);
    expect(await stop(server)).toMatchObject({ code: 0 });
    const told = spansIn(bodies).filter(({ name }) => name === "download" || name === "export")
      .map(({ name, attributes, events }) => ({
        name,
        events,
        reason: attributes.find(({ key }) => key === "reason")?.value.stringValue,
      }));
    expect(told).toEqual(["ExportError.NoSuchUsers", "ExportError.InvalidRow"].flatMap((reason) => [
      { name: "download", events: [], reason },
      { name: "export", events: [], reason },
    ]));
    for (const id of users) expect(bodies.join("\n")).not.toContain(id);
  });
});
