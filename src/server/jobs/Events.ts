/**
 * Events of an export for those who watch it. It is looked at once for all of them, and each has timers alone to itself:
 * hundreds of them cost next to nothing.
 *
 * @module
 */
import type * as Job from "./Job.ts";

/** Interval of looks at an export for those who watch, in milliseconds. */
const LOOK = 250;

/** Interval of comments that keep a quiet connection alive, in milliseconds. */
const PAUSE = 15_000;

/** Longest time of one stream, in milliseconds. A browser that still wants to know opens the next one by itself. */
const LIFE = 15 * 60_000;

/** Tells of an export: at once, and whenever it has changed, until it is released. */
export type ChangeTracker = (tell: (summary: Job.Summary) => void) => () => void;

/** Watches what is looked at so. */
export const track = (look: () => Job.Summary): ChangeTracker => {
  const watchers = new Set<(summary: Job.Summary) => void>();
  let latest = look();
  let text = JSON.stringify(latest);
  let timer: ReturnType<typeof setInterval> | undefined;
  const lookAgain = () => {
    const now = look();
    const said = JSON.stringify(now);
    if (said === text) return;
    latest = now;
    text = said;
    for (const tell of watchers) tell(latest);
  };
  return (tell) => {
    lookAgain();
    tell(latest);
    watchers.add(tell);
    timer ??= setInterval(lookAgain, LOOK);
    return () => {
      watchers.delete(tell);
      if (watchers.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  };
};

const utf8 = new TextEncoder();

/**
 * The events as a body. It ends with the export, after its time, and when what it puts among those that are `open` is called. A
 * reader who is slow is told of the latest alone.
 */
export const stream = (
  track: ChangeTracker,
  open: Set<() => void>,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  let next: string | undefined;
  let isOver = false;
  let wake = () => {};
  const say = (text: string) => {
    next = text;
    wake();
  };
  const end = () => {
    isOver = true;
    release();
    clearInterval(pausing);
    clearTimeout(ending);
    open.delete(end);
    wake();
  };
  const pausing = setInterval(() => next ?? say(":\n\n"), PAUSE);
  const ending = setTimeout(end, LIFE);
  let release = () => {};
  open.add(end);
  release = track((summary) => {
    say(`event: export\ndata: ${JSON.stringify(summary)}\n\n`);
    // Not before it is known how to release it.
    if (summary.status !== "queued" && summary.status !== "running") queueMicrotask(end);
  });
  return new ReadableStream({
    pull: async (controller) => {
      if (next === undefined && !isOver) await new Promise<void>((resolve) => (wake = resolve));
      if (next === undefined) return controller.close();
      controller.enqueue(utf8.encode(next));
      next = undefined;
    },
    cancel: end,
  }, { highWaterMark: 0 });
};
