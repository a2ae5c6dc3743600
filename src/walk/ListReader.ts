/**
 * Carries a {@link PageWalk} out: asks, waits, and hands on what each answer delivers.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import type * as Scope from "effect/Scope";
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
  const take = (walk: PageWalk.Walk, request: PageWalk.PageRequest, page: Page) => {
    const rows = decode(page);
    const step = PageWalk.receive(shape, walk, request, { rows: rows.placed, facts: page.facts });
    return Effect.as(onReading({ ...step, request, page, rows }), step);
  };
  /** Asks for a page, which is parsed when those before it have been handed on. */
  const askAhead = (request: PageWalk.PageRequest) => {
    const turn = Effect.unsafeMakeLatch();
    return Effect.map(
      Effect.forkScoped(ask(request, turn.await)),
      (fiber): Asked<E, R> => ({ request, answer: Effect.zipRight(turn.open, Fiber.join(fiber)) }),
    );
  };
  /** Takes answers in the order of their requests, and for each that was of use asks for a page after the last one. */
  const slide = (
    walk: PageWalk.Walk,
    asked: ReadonlyArray<Asked<E, R>>,
  ): Effect.Effect<PageWalk.Walk, E | E2, R | R2 | Scope.Scope> => {
    const [first, ...others] = asked;
    if (first === undefined || walk.done) return Effect.succeed(walk);
    return Effect.flatMap(first.answer, (page) =>
      Effect.flatMap(take(walk, first.request, page), (step) => {
        if (!step.onCourse) return Effect.succeed(step.walk);
        const requests: Array<PageWalk.PageRequest> = [];
        let last = asked.at(-1)?.request;
        while (last !== undefined && others.length + requests.length < share()) {
          last = step.walk.done ? undefined : PageWalk.ahead(step.walk, last);
          if (last !== undefined) requests.push(last);
        }
        return Effect.flatMap(
          Effect.forEach(requests, askAhead),
          (more) => slide(step.walk, [...others, ...more]),
        );
      }));
  };
  const from = (walk: PageWalk.Walk): Effect.Effect<void, E | E2, R | R2> => {
    if (walk.done) return Effect.void;
    const planned = PageWalk.plan(shape, walk, Math.max(1, share()));
    const [first, ...others] = planned.requests;
    // Most lists are one page, and a fiber for that alone would cost as much as its request.
    const after = first !== undefined && others.length === 0
      ? Effect.flatMap(ask(first), (page) => take(planned.walk, first, page)).pipe(
        Effect.map(({ walk }) => walk),
      )
      // What is still under way when the walk has taken another course is ended with the scope.
      : Effect.scoped(
        Effect.flatMap(Effect.forEach(planned.requests, askAhead), (asked) => slide(planned.walk, asked)),
      );
    return Effect.flatMap(after, from);
  };
  return Effect.suspend(() => from(start ?? PageWalk.begin(shape, pageSize)));
};
