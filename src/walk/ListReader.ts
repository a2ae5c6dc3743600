/**
 * Carries a {@link PageWalk} out: asks, waits, and hands on what each answer delivers.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import type { Page } from "../tenant/HttpPolicy.ts";
import * as PageWalk from "./PageWalk.ts";

/** The rows of an answer, for the walk to go by. */
export interface Placed {
  /** The fields of each; a text that tells the row apart if they can't be relied on. */
  readonly placed: ReadonlyArray<PageWalk.Row>;
}

/** One answer, with what it means for the walk. */
export interface Reading<Rows> extends PageWalk.Step {
  readonly request: PageWalk.PageRequest;
  readonly page: Page;
  readonly rows: Rows;
}

/** A page that has been asked for. */
interface Asked<E, R> {
  readonly request: PageWalk.PageRequest;
  readonly answer: Effect.Effect<Page, E, R>;
}

/** How a list is read. */
export interface ListReaderOptions<Rows extends Placed, E, R> {
  readonly shape: PageWalk.ListShape;
  /** Rows a page, at most. */
  readonly pageSize: number;
  /** Asks for a page, which is parsed no sooner than its turn has come. */
  readonly ask: (request: PageWalk.PageRequest, turn?: Effect.Effect<void>) => Effect.Effect<Page, E, R>;
  /** What the rows of an answer are. */
  readonly decode: (page: Page) => Rows;
  /** Where to go on from; from the beginning if left out. */
  readonly start?: PageWalk.Walk | undefined;
  /** How many pages may be asked for at once, now. Each is held until those before it have been handed on. */
  readonly share: () => number;
}

/** Reads a list to its end and hands each answer on, in order. Holds as many pages as it asks for at once. */
export const read = <Rows extends Placed, E, R, E2, R2>(
  { shape, pageSize, ask, decode, start, share }: ListReaderOptions<Rows, E, R>,
  onReading: (reading: Reading<Rows>) => Effect.Effect<unknown, E2, R2>,
): Effect.Effect<void, E | E2, R | R2> => {
  /** Takes answers in the order of their requests, each as soon as it is there. */
  const handOn = (
    walk: PageWalk.Walk,
    asked: ReadonlyArray<Asked<E, R>>,
  ): Effect.Effect<PageWalk.Walk, E | E2, R | R2> => {
    const [first, ...others] = asked;
    if (first === undefined || walk.done) return Effect.succeed(walk);
    return Effect.flatMap(first.answer, (page) => {
      const { request } = first;
      const rows = decode(page);
      const step = PageWalk.receive(shape, walk, request, { rows: rows.placed, facts: page.facts });
      return Effect.flatMap(
        onReading({ ...step, request, page, rows }),
        () => step.onCourse ? handOn(step.walk, others) : Effect.succeed(step.walk),
      );
    });
  };
  /** Asks for pages at once. Each is parsed when those before it have been handed on. */
  const askTogether = (requests: ReadonlyArray<PageWalk.PageRequest>) =>
    Effect.forEach(requests, (request) => {
      const turn = Effect.unsafeMakeLatch();
      return Effect.map(
        Effect.forkScoped(ask(request, turn.await)),
        (fiber) => ({ request, answer: Effect.zipRight(turn.open, Fiber.join(fiber)) }),
      );
    });
  const from = (walk: PageWalk.Walk): Effect.Effect<void, E | E2, R | R2> => {
    if (walk.done) return Effect.void;
    const planned = PageWalk.plan(shape, walk, Math.max(1, share()));
    const [first, ...others] = planned.requests;
    // Most lists are one page, and a fiber for that alone would cost as much as its request.
    const after = first !== undefined && others.length === 0
      ? handOn(planned.walk, [{ request: first, answer: ask(first) }])
      // What is still under way when the walk has taken another course is ended with the scope.
      : Effect.scoped(
        Effect.flatMap(askTogether(planned.requests), (asked) => handOn(planned.walk, asked)),
      );
    return Effect.flatMap(after, from);
  };
  return Effect.suspend(() => from(start ?? PageWalk.begin(shape, pageSize)));
};
