/**
 * What it would gain to encode on another thread than the one that walks: batches cross as the texts of their sessions,
 * which is the cheapest form they have, and are parsed again there.
 */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Batch, Formats } from "monocloud-sessions";
import * as RowSlices from "../src/scan/RowSlices.ts";

interface Crossing {
  readonly userId: string;
  readonly texts: ReadonlyArray<string>;
}

/** How many batches may be under way. */
const WINDOW = 32;

/** Encodes on a thread of its own. */
export const elsewhere = (format: Formats.FormatName) => {
  const worker = new Worker(new URL(import.meta.url), { workerData: format });
  let underWay = 0;
  let resume = () => {};
  worker.on("message", () => {
    underWay--;
    resume();
  });
  return {
    write: async (batch: Batch.Batch): Promise<void> => {
      while (underWay >= WINDOW) await new Promise<void>((resolve) => (resume = resolve));
      underWay++;
      const { userId, rows: { slices } } = Batch.toBytes(batch);
      const texts = slices.from.map((_, row) => RowSlices.text(slices, row));
      worker.postMessage({ userId, texts } satisfies Crossing);
    },
    end: async (): Promise<void> => {
      while (underWay > 0) await new Promise<void>((resolve) => (resume = resolve));
      worker.postMessage("end");
      await once(worker, "exit");
    },
  };
};

if (!isMainThread && parentPort !== null && typeof workerData === "string") {
  const port = parentPort;
  const encoder = Formats.make(workerData as Formats.FormatName).make();
  port.on("message", (message: Crossing | "end") => {
    if (message === "end") {
      encoder.finish();
      return port.close();
    }
    const { userId, texts } = message;
    encoder.encode(Batch.ofTexts(userId, texts));
    port.postMessage("");
  });
}
