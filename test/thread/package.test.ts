/** The threads as a consumer of the built package gets them, with nothing said about how to start them. */
import process from "node:process";
import { describe, expect, it } from "vitest";
import { keysIn, keysOf, project, start } from "../cli/command.ts";
import { tenantOf } from "./threads.ts";

const node = (script: string, input: unknown) => {
  const read = `const input = JSON.parse(await new Response(process.stdin).text());`;
  return start(process.execPath, ["--input-type=module", "--eval", `${script}\n`.replace("INPUT", read)], {
    cwd: project,
    input: JSON.stringify(input),
  }).done;
};

describe("monocloud-sessions/thread", () => {
  it("streams, and ends when there is no more", async () => {
    const { tenant, sandbox } = await tenantOf();
    const { code, out, err } = await node(
      `import { stream } from "monocloud-sessions/thread";
      INPUT
      for await (const bytes of stream("ndjson", { ...input, users: "all" })) process.stdout.write(bytes);`,
      tenant,
    );
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(keysIn(out)).toEqual(keysOf(sandbox));
  });

  it("stops for a signal, for a reader that goes, and for a refused key, each as the caller expects", async () => {
    const { tenant, sandbox } = await tenantOf({ users: 5_000, faults: { latencyMs: 5 } });
    const { code, out, err } = await node(
      `import { exportSessions, stream } from "monocloud-sessions/thread";
      INPUT
      const options = { ...input, users: "all" };
      const reader = stream("csv", options).getReader();
      await reader.read();
      await reader.cancel();
      const controller = new AbortController();
      const stopped = stream("csv", { ...options, signal: controller.signal }).getReader();
      await stopped.read();
      controller.abort(new Error("that is enough"));
      const why = await (async () => { for (;;) if ((await stopped.read()).done) return "it ended"; })().catch((e) => e.message);
      const refused = await exportSessions({ ...options, apiKey: "wrong", out: "never.csv" }).catch((error) => error);
      console.log(JSON.stringify([why, refused._tag, refused.reason]));`,
      tenant,
    );
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(JSON.parse(out)).toEqual(["that is enough", "ApiError", "Unauthorized"]);
    expect(sandbox.counts.total).toBeLessThan(4_000);
  });
});
