/**
 * What every output promises, wherever the bytes go.
 *
 * @module
 */
import { createHash } from "node:crypto";
import * as fc from "fast-check";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import { describe, expect, it } from "vitest";
import type { Receipt, Sink } from "../../src/sink/Sink.ts";

/** An output that is tried once, and its reader. */
export interface Trial {
  readonly output: Sink;
  /** What a reader takes for the complete result, as it lies there; undefined if there is none. */
  readonly complete: () => Promise<Uint8Array | undefined>;
}

export interface OutputContract {
  readonly name: string;
  readonly trial: () => Promise<Trial>;
  /** From what lies there to what was written. */
  readonly decode?: (bytes: Uint8Array) => Uint8Array;
  /** Whether the receipt holds the digest. */
  readonly digests: boolean;
}

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** Opens the output, writes the chunks and commits it. */
export const send = (output: Sink, chunks: Iterable<Uint8Array<ArrayBuffer>>) =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* output.open;
    for (const chunk of chunks) yield* sink.write(chunk);
    return yield* sink.commit;
  }));

/** Bytes that do not compress to nothing, the same for the same seed. */
export const noise = (length: number, seed = 1): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
};

/** How long chunks are, and how each is handed over: as it is, laid in the output's room, or so after that was asked for in vain. */
const chunks = fc.array(
  fc.tuple(
    fc.oneof(fc.nat({ max: 40 }), fc.constantFrom(0, 65_536, 262_144, 300_001, 700_000)),
    fc.constantFrom("as it is", "laid", "in vain"),
  ),
  { maxLength: 8 },
);

/** Registers the suite. */
export const outputContract = ({ name, trial, decode, digests }: OutputContract): void => {
  const whatIsThere = async ({ complete }: Trial) => {
    const bytes = await complete();
    return bytes === undefined ? undefined : Buffer.from(decode?.(bytes) ?? bytes);
  };

  const expectReceipt = (receipt: Receipt, lying: Uint8Array | undefined) => {
    expect(receipt.bytes).toBe(lying?.length);
    expect(receipt.sha256).toBe(
      digests ? createHash("sha256").update(lying ?? "").digest("hex") : undefined,
    );
  };

  describe(`the output ${name}`, () => {
    it("brings all bytes over, in order, and tells how many lie there, for any chunks", async () => {
      await fc.assert(
        fc.asyncProperty(chunks, async (chunks) => {
          const tried = await trial();
          const all = chunks.map(([size], index) => noise(size, index + 1));
          const receipt = await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
            const sink = yield* tried.output.open;
            for (const [index, [size, how]] of chunks.entries()) {
              const place = how === "as it is" ? undefined : sink.allocate?.(size + 10);
              const isLaid = how === "laid" && place !== undefined;
              if (isLaid) place.set(all[index]!);
              yield* sink.write(isLaid ? place.subarray(0, size) : all[index]!.slice());
            }
            return yield* sink.commit;
          })));
          expect((await whatIsThere(tried))?.equals(Buffer.concat(all))).toBe(true);
          expectReceipt(receipt, await tried.complete());
        }),
        { numRuns: 40 },
      );
    });

    it("is complete and empty when nothing was written", async () => {
      const tried = await trial();
      const receipt = await Effect.runPromise(send(tried.output, []));
      expect(await whatIsThere(tried)).toEqual(Buffer.of());
      expectReceipt(receipt, await tried.complete());
    });

    it("is not complete before it is committed", async () => {
      const tried = await trial();
      await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
        const sink = yield* tried.output.open;
        yield* sink.write(noise(600_000));
        expect(yield* Effect.promise(tried.complete)).toBeUndefined();
        yield* sink.prepare ?? Effect.void;
        expect(sink.prepare && (yield* Effect.promise(tried.complete))).toBeUndefined();
        yield* sink.commit;
      })));
      expect((await whatIsThere(tried))?.length).toBe(600_000);
    });

    it.each([
      ["without a commit", Effect.void],
      ["by a failure", Effect.fail("this export's failure")],
      ["by a defect", Effect.die(new Error("this export's defect"))],
    ])("is never complete when its scope closes %s", async (_, end) => {
      const tried = await trial();
      const writeOnly = Effect.gen(function* () {
        const sink = yield* tried.output.open;
        yield* sink.write(noise(600_000));
        yield* end;
      });
      await Effect.runPromiseExit(Effect.scoped(writeOnly));
      expect(await tried.complete()).toBeUndefined();
    });

    it("is never complete when the export is interrupted", async () => {
      const tried = await trial();
      await Effect.runPromise(Effect.gen(function* () {
        const begun = yield* Deferred.make<void>();
        const endless = Effect.gen(function* () {
          const sink = yield* tried.output.open;
          yield* sink.write(utf8("begun"));
          yield* Deferred.succeed(begun, undefined);
          return yield* Effect.forever(sink.write(noise(10_000)));
        });
        const fiber = yield* Effect.fork(Effect.scoped(endless));
        yield* Deferred.await(begun);
        yield* Fiber.interrupt(fiber);
      }));
      expect(await tried.complete()).toBeUndefined();
    });
  });
};
