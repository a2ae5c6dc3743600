/**
 * Outputs that bytes go straight into: named pipes, and devices such as `/dev/stdout`. They have no name to be given when they are
 * complete, and a reader that may wait, stop or go.
 */
import { constants, createWriteStream, openSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Writable } from "node:stream";
import type { Sink } from "../../sink/Sink.ts";
import * as WebSink from "../../sink/WebSink.ts";

export const isPipe = (path: string): boolean => {
  try {
    const found = statSync(path);
    // Such as /dev/stdout, which may be a file: one that nothing can be put in place of.
    return found.isFIFO() || found.isCharacterDevice() || path.startsWith("/dev/");
  } catch {
    return false;
  }
};

/** Milliseconds between two looks for a reader. */
const POLL = 50;

/** Open a pipe once it has a reader, without a thread that waits there and would keep the process from its end. */
const openPipe = async (path: string, isGone: () => boolean): Promise<number> => {
  while (true) {
    try {
      return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== "ENXIO" || isGone()) throw error;
      await sleep(POLL);
    }
  }
};

/** Deno makes no socket of a pipe. */
const hasSockets = !("Deno" in globalThis);

/** Open the stream of a path. A full pipe is waited for by the event loop. */
const streamTo = async (path: string, isGone: () => boolean): Promise<WritableStream<Uint8Array>> => {
  const target = hasSockets && statSync(path).isFIFO()
    ? new Socket({ fd: await openPipe(path, isGone), readable: false, writable: true })
    : createWriteStream(path);
  return Writable.toWeb(target) as WritableStream<Uint8Array>;
};

/** A pipe or a device. It is opened with the first bytes, and what it gets can't be taken back. */
export const make = (path: string): Sink => {
  let isGone = false;
  let writer: Promise<WritableStreamDefaultWriter<Uint8Array>> | undefined;
  const opened = () => writer ??= streamTo(path, () => isGone).then((stream) => stream.getWriter());
  return WebSink.make(
    path,
    new WritableStream<Uint8Array>({
      write: async (bytes) => (await opened()).write(bytes),
      close: async () => (await opened()).close(),
      abort: async (reason) => {
        isGone = true;
        await writer?.then((writer) => writer.abort(reason)).catch(() => undefined);
      },
    }),
  );
};
