/**
 * What every encoder promises, whatever the format.
 *
 * @module
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Encodable, Encoder, Format } from "../../src/format/Format.ts";
import * as Batch from "../../src/session/Batch.ts";
import { batch, examples, serve } from "./sessions.ts";

export interface EncoderContract {
  readonly format: Format;
  /** The rows of a finished file, read by something that is not the encoder. */
  readonly read: (file: Uint8Array) => Promise<ReadonlyArray<unknown>>;
  /** What the file should say of a batch. */
  readonly rows: (batch: Encodable) => ReadonlyArray<unknown>;
}

/** The whole file for these batches. */
export const encodeAll = (encoder: Encoder, batches: Iterable<Encodable>): Uint8Array<ArrayBuffer> => {
  const chunks = [];
  for (const batch of batches) chunks.push(encoder.encode(batch));
  chunks.push(encoder.finish());
  const file = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    file.set(chunk, at);
    at += chunk.length;
  }
  return file;
};

const split = (batch: Batch.Batch, at: number): ReadonlyArray<Encodable> => {
  let index = 0;
  const first = Batch.filter(batch, () => index++ < at);
  index = 0;
  return [first, Batch.filter(batch, () => index++ >= at)];
};

/** Registers the suite. Batches of one property run share a file, so `read` is called a few times in all. */
export const encoderContract = ({ format, read, rows }: EncoderContract): void => {
  const alice = Batch.make("alice", examples(5));
  const bob = Batch.make("bob", examples(3));
  const nobody = Batch.make("nobody", []);

  describe(`the ${format.name} encoder`, () => {
    it("makes a valid file without rows of an empty export", async () => {
      expect(await read(encodeAll(format.make(), []))).toEqual([]);
    });

    it("makes a valid file without rows of empty batches", async () => {
      expect(await read(encodeAll(format.make(), [nobody, nobody]))).toEqual([]);
    });

    it("writes every session of a batch, in order", async () => {
      expect(await read(encodeAll(format.make(), [alice]))).toEqual(rows(alice));
    });

    it("writes every batch, in order", async () => {
      const batches = [alice, nobody, bob];
      expect(await read(encodeAll(format.make(), batches))).toEqual(batches.flatMap(rows));
    });

    it("writes the same of sessions as served as of their values", async () => {
      const served = await read(encodeAll(format.make(), [serve("alice", examples(5))]));
      expect(served).toEqual(await read(encodeAll(format.make(), [alice])));
    });

    it("gives the same rows wherever batches are cut", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(batch, fc.nat({ max: 6 })), { minLength: 20, maxLength: 60 }),
          async (cuts) => {
            const file = encodeAll(format.make(), cuts.flatMap(([batch, at]) => split(batch, at)));
            expect(await read(file)).toEqual(cuts.flatMap(([batch]) => rows(batch)));
          },
        ),
        { numRuns: 8 },
      );
    });

    it("hands out bytes that later calls leave alone", () => {
      const encoder = format.make();
      const chunks = [encoder.encode(alice), encoder.encode(bob), encoder.encode(alice)];
      const before = chunks.map((chunk) => chunk.slice());
      encoder.encode(bob);
      encoder.finish();
      expect(chunks).toEqual(before);
    });

    it("lays bytes into memory that it is given, and asks for no more of it than it takes", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(batch, { minLength: 20, maxLength: 60 }), async (batches) => {
          const encoder = format.make();
          const room = new Uint8Array(1 << 20);
          const chunks: Array<Uint8Array> = [];
          for (const batch of batches) {
            const asked: Array<number> = [];
            const bytes = encoder.encode(batch, (length) => {
              asked.push(length);
              return room.subarray(7, 7 + length);
            });
            chunks.push(bytes.slice());
            expect(asked.length).toBeLessThan(2);
            if (bytes.buffer === room.buffer) expect([bytes.byteOffset, bytes.length]).toEqual([7, ...asked]);
          }
          chunks.push(encoder.finish());
          expect(await read(Buffer.concat(chunks))).toEqual(batches.flatMap(rows));
        }),
        { numRuns: 8 },
      );
    });

    it("shares nothing with an encoder at work beside it", () => {
      const [one, two] = [format.make(), format.make()];
      const chunks = [alice, bob].map((batch) => [one.encode(batch), two.encode(batch)] as const);
      for (const [left, right] of [...chunks, [one.finish(), two.finish()] as const]) {
        expect(left).toEqual(right);
      }
    });

    it("throws when used after it was finished", () => {
      const encoder = format.make();
      encoder.encode(alice);
      encoder.finish();
      expect(() => encoder.encode(alice)).toThrow(`the ${format.name} encoder is finished`);
      expect(() => encoder.finish()).toThrow(`the ${format.name} encoder is finished`);
    });

    it("refuses to go on after it has thrown", () => {
      const encoder = format.make();
      expect(() => encoder.encode(Batch.make("alice", [examples(1)[0]!, null as never]))).toThrow(
        "Cannot write what is no session: number 2 of 2 of alice",
      );
      expect(() => encoder.encode(alice)).toThrow(`the ${format.name} encoder has thrown`);
      expect(() => encoder.finish()).toThrow(`the ${format.name} encoder has thrown`);
    });
  });
};
