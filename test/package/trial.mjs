/** Uses each entry once, as its user would, on whatever runtime this is run: `trial.mjs ENTRY…`. */
import process from "node:process";

const token = "a-token-that-is-long-enough";

const tenant = async () => {
  const { make } = await import("monocloud-sessions/sandbox");
  const sandbox = make({ users: 3, sessionsPerUser: 10 });
  const fetch = (input, init) => sandbox.fetch(new Request(input, init));
  return { sandbox, options: { domain: "sandbox.example", apiKey: sandbox.key, fetch } };
};

const onPort = async (use) => {
  const { make, serve } = await import("monocloud-sessions/sandbox");
  const sandbox = make({ users: 3, sessionsPerUser: 10 });
  const server = await serve(sandbox);
  try {
    return await use({ domain: server.url, apiKey: sandbox.key });
  } finally {
    await server.close();
  }
};

const lengthOf = async (stream) => (await new Response(stream).arrayBuffer()).byteLength;

/** Gives what came of it, or why it could not be. */
const syncInto = async (target) => {
  const { isTargetError, sync } = await import("monocloud-sessions/promise");
  const { options } = await tenant();
  return await sync({ ...options, users: "all", target }).then(
    ({ inserted, verified }) => [inserted, verified],
    (error) => [error.reason ?? String(error), isTargetError(error)],
  );
};

const trials = {
  promise: async () => {
    const { exportSessions, sessions, stream } = await import("monocloud-sessions/promise");
    const { options } = await tenant();
    let count = 0;
    for await (const session of sessions({ ...options, users: "all" })) if (session.user_id) count++;
    const bytes = await lengthOf(stream("parquet", { ...options, users: "all" }));
    const report = await exportSessions({ ...options, users: "all", out: ["p.csv.gz", "p.parquet"] });
    return [count, bytes > 1000, report.sessions, report.verified];
  },
  thread: () =>
    onPort(async (options) => {
      const { exportSessions, stream } = await import("monocloud-sessions/thread");
      const bytes = await lengthOf(stream("csv", { ...options, users: "all" }));
      const report = await exportSessions({ ...options, users: "all", out: ["t.ndjson.gz", "t.parquet"] });
      const refused = await exportSessions({ ...options, apiKey: "wrong", users: "all", out: "t.csv" })
        .catch((error) => error);
      return [bytes > 1000, report.sessions, report.verified, refused._tag];
    }),
  server: async () => {
    const { make } = await import("monocloud-sessions/server");
    const { sandbox, options } = await tenant();
    const server = await make({ ...options, token });
    const [userId] = sandbox.userIds();
    const url = `http://localhost/v1/users/${encodeURIComponent(userId)}/sessions.csv`;
    const headers = { authorization: `Bearer ${token}` };
    const answer = await server.fetch(new Request(url, { headers }));
    const lines = (await answer.text()).split("\r\n").length - 2;
    const docs = await server.fetch(new Request("http://localhost/docs"));
    await server.stop();
    return [answer.status, lines, docs.status];
  },
  // Of its own, requests are made by undici on Node.
  worker: () =>
    onPort(async (options) => {
      const { make } = await import("monocloud-sessions/worker");
      const server = await make({ ...options, token, folder: "jobs" });
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const body = JSON.stringify({ users: "all", formats: ["csv"] });
      const asked = new Request("http://localhost/v1/exports", {
        method: "POST",
        headers: { ...headers, "content-length": String(body.length) },
        body,
      });
      const { id } = await (await server.fetch(asked, {})).json();
      let view;
      do {
        await new Promise((resume) => setTimeout(resume, 20));
        view = await (await server.fetch(new Request(`http://localhost/v1/exports/${id}`, { headers })))
          .json();
      } while (view.status === "queued" || view.status === "running");
      await server.stop();
      return [view.status];
    }),
  sandbox: async () => [(await tenant()).sandbox.key.length > 0],
  effect: async () => {
    const { Batch, TenantClient, SessionSource, Transport, UserSource } = await import("monocloud-sessions");
    const [Effect, Layer, Stream] = await Promise.all(
      [import("effect/Effect"), import("effect/Layer"), import("effect/Stream")],
    );
    const { options: { fetch, ...options } } = await tenant();
    const http = TenantClient.layer(options).pipe(Layer.provide(Transport.fetch(fetch)));
    const users = Stream.mapConcat(UserSource.all(), ({ userIds }) => userIds);
    const batches = Stream.runCollect(SessionSource.batches(users));
    const all = await Effect.runPromise(Effect.provide(batches, http));
    return [[...all].reduce((sum, batch) => sum + Batch.size(batch), 0)];
  },
  "effect/thread": () =>
    onPort(async (tenant) => {
      const { Thread } = await import("monocloud-sessions/effect/thread");
      const Effect = await import("effect/Effect");
      const run = Effect.flatMap(
        Thread.make(),
        (thread) => thread.run({ tenant, users: "all", targets: [{ format: "csv", to: "e.csv" }] }),
      );
      return [(await Effect.runPromise(Effect.scoped(run))).sessions];
    }),
  "effect/server": async () => Object.keys(await import("monocloud-sessions/effect/server")),
  duckdb: async () => {
    const { make } = await import("monocloud-sessions/duckdb");
    return await syncInto(make({ path: "p.duckdb" }));
  },
  postgres: async () => {
    const { make } = await import("monocloud-sessions/postgres");
    return await syncInto(make({ url: "postgres://nobody@127.0.0.1:1/nothing" }));
  },
  // The target is of another copy of the library, and so are its errors.
  "effect/warehouse": async () => {
    const { Warehouse } = await import("monocloud-sessions/effect/warehouse");
    const { TenantClient, Transport } = await import("monocloud-sessions");
    const { make } = await import("monocloud-sessions/duckdb");
    const [Effect, Layer] = await Promise.all([import("effect/Effect"), import("effect/Layer")]);
    const { options: { fetch, ...options } } = await tenant();
    const syncing = Warehouse.sync({
      target: make({ path: "e.duckdb" }),
      tenant: "https://sandbox.example",
      users: Warehouse.allUsers(),
    }).pipe(
      Effect.map(({ inserted, verified }) => [inserted, verified]),
      Effect.catchTag(
        "TargetError",
        (error) => Effect.succeed([error.reason, error instanceof Warehouse.TargetError]),
      ),
      Effect.provide(TenantClient.layer(options).pipe(Layer.provide(Transport.fetch(fetch)))),
    );
    return await Effect.runPromise(syncing);
  },
  undici: async () => Object.keys(await import("monocloud-sessions/undici")),
};

for (const name of process.argv.slice(2)) {
  const result = await trials[name]().catch((error) => `${error?.code ?? ""} ${error?.message ?? error}`);
  console.log(JSON.stringify([name, result]));
}
// A runtime may keep a timer of its own.
process.exit(0);
