import { gunzipSync } from "node:zlib";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { describe, expect, it } from "vitest";
import * as GzipSink from "../../src/sink/GzipSink.ts";
import * as WebSink from "../../src/sink/WebSink.ts";
import { noise, outputContract, send, utf8 } from "./contract.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A reader that keeps what came and how it ended. */
const collector = () => {
  const chunks: Array<Bytes> = [];
  const seen = { closed: false, aborted: undefined as unknown };
  const stream = new WritableStream<Bytes>({
    write: (chunk) => void chunks.push(chunk),
    close: () => void (seen.closed = true),
    abort: (reason) => void (seen.aborted = reason),
  });
  return { stream, seen, chunks };
};

const trialThrough =
  (wrap: (output: ReturnType<typeof WebSink.make>) => ReturnType<typeof WebSink.make>) => () => {
    const { stream, seen, chunks } = collector();
    return Promise.resolve({
      output: wrap(WebSink.make("a collector", stream)),
      complete: () => Promise.resolve(seen.closed ? Buffer.concat(chunks) : undefined),
    });
  };

outputContract({ name: "Web", digests: false, trial: trialThrough((output) => output) });

outputContract({
  name: "Gzip over Web",
  digests: false,
  decode: (bytes) => gunzipSync(bytes),
  trial: trialThrough(GzipSink.make),
});

describe.each([
  ["Web.make()", (output: ReturnType<typeof WebSink.make>) => output],
  ["Gzip.make(WebSink.make())", GzipSink.make],
])("%s", (_, wrap) => {
  it("aborts the stream when the export fails, so that its reader can't take it for complete", async () => {
    const { readable, writable } = new TransformStream<Bytes, Bytes>();
    const text = new Response(readable).text();
    const failing = Effect.gen(function* () {
      const sink = yield* wrap(WebSink.make("a response", writable)).open;
      yield* sink.write(utf8("half"));
      yield* Effect.fail("this export's failure");
    });
    const exit = await Effect.runPromiseExit(Effect.scoped(failing));
    expect(Exit.isFailure(exit)).toBe(true);
    await expect(text).rejects.toThrow("the export failed");
  });

  it("is held back by a reader that is slow", async () => {
    let taken = 0;
    let written = 0;
    let ahead = 0;
    const slow = new WritableStream<Bytes>({
      write: async (chunk) => {
        await new Promise((resume) => setTimeout(resume, 2));
        taken += chunk.length;
      },
    });
    const writing = Effect.gen(function* () {
      const sink = yield* wrap(WebSink.make("a slow reader", slow)).open;
      for (let i = 0; i < 40; i++) {
        yield* sink.write(noise(100_000, i));
        written += 100_000;
        ahead = Math.max(ahead, written - taken);
      }
      yield* sink.commit;
    });
    await Effect.runPromise(Effect.scoped(writing));
    expect(taken).toBeGreaterThan(3_900_000);
    expect(ahead).toBeLessThan(1_500_000);
  });

  it("ends at once when interrupted while its reader has stopped reading", async () => {
    const stuck = new WritableStream<Bytes>({ write: () => new Promise(() => {}) });
    await Effect.runPromise(Effect.gen(function* () {
      const chunks = Array.from({ length: 100 }, (_, i) => noise(100_000, i));
      const fiber = yield* Effect.fork(send(wrap(WebSink.make("a stuck reader", stuck)), chunks));
      yield* Effect.sleep("50 millis");
      yield* Effect.timeout(Fiber.interrupt(fiber), "5 seconds");
    }));
  });

  it("ends at once when the export fails while its reader has stopped reading", async () => {
    const stuck = new WritableStream<Bytes>({ write: () => new Promise(() => {}) });
    const failing = Effect.scoped(Effect.gen(function* () {
      const sink = yield* wrap(WebSink.make("a stuck reader", stuck)).open;
      const writes = Effect.forEach(Array.from({ length: 100 }, (_, i) => noise(100_000, i)), sink.write);
      yield* Effect.timeoutFail(writes, { duration: "50 millis", onTimeout: () => "this export's failure" });
    }));
    const error = await Effect.runPromise(Effect.flip(Effect.timeout(failing, "5 seconds")));
    expect(error).toBe("this export's failure");
  });

  it("tells a reader that has gone from other failures", async () => {
    const failureOf = (cause: unknown) => {
      const broken = new WritableStream<Bytes>({ write: () => Promise.reject(cause) });
      const chunks = Array.from({ length: 20 }, (_, i) => noise(100_000, i));
      return Effect.runPromise(Effect.flip(send(wrap(WebSink.make("standard output", broken)), chunks)));
    };
    const gone = await failureOf(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    expect(gone).toMatchObject({ _tag: "SinkError", reason: "Closed", path: "standard output" });
    expect(gone.message).toBe("Cannot go on writing standard output: its reader has gone");
    const full = await failureOf(Object.assign(new Error("no space"), { code: "ENOSPC" }));
    expect(full).toMatchObject({ _tag: "SinkError", reason: "Write" });
    expect(full.message).toBe(
      "Cannot write standard output: the disk is full: free some space or choose another place",
    );
  });

  it("can't open a stream that someone else writes to", async () => {
    const { stream } = collector();
    stream.getWriter();
    const error = await Effect.runPromise(Effect.flip(send(wrap(WebSink.make("a response", stream)), [])));
    expect(error).toMatchObject({ _tag: "SinkError", reason: "Open", path: "a response" });
  });
});

describe("Web.make()", () => {
  it("lets go of the stream", async () => {
    const { stream } = collector();
    await Effect.runPromise(send(WebSink.make("a collector", stream), [utf8("x")]));
    expect(stream.locked).toBe(false);
  });
});
