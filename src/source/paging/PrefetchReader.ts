/** Carries a {@link PageWalk} out: asks, waits, and hands on what each answer delivers. */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import type * as Scope from "effect/Scope";
import type { PaginationHeader } from "../../api/PaginationHeader.ts";
import * as PageWalk from "./PageWalk.ts";

export interface AnyPage {
  readonly pagination: PaginationHeader | undefined;
}

export interface Answer {
  /** The rows as the walk goes by them. */
  readonly walkRows: PageWalk.WalkRows;
}

/** One answer, with what it means for the walk. */
export interface Reading<Page, Rows> extends PageWalk.Step {
  readonly request: PageWalk.PageRequest;
  readonly page: Page;
  readonly rows: Rows;
}

interface Asked {
  readonly request: PageWalk.PageRequest;
  /** Opened when those before it have been handed on. */
  readonly turn: Effect.Latch;
}

export interface ListReaderOptions<Page extends AnyPage, Rows extends Answer, E, R> {
  readonly shape: PageWalk.ListShape;
  /** Rows a page, at most. */
  readonly pageSize: number;
  /** Asks for a page, which is parsed no sooner than its turn has come. */
  readonly ask: (request: PageWalk.PageRequest, turn?: Effect.Effect<void>) => Effect.Effect<Page, E, R>;
  /** Decodes the rows of an answer. */
  readonly decode: (page: Page) => Rows;
  /** Tells whether a request failed for the size of its page: then no page larger than `pageSize` is asked for again. */
  readonly isTooLarge?: ((error: E) => boolean) | undefined;
  /** The state to go on from. @default {the beginning} */
  readonly start?: PageWalk.Walk | undefined;
  /** Gives the number of pages that may be asked for at once, now. Each is held until those before it have been handed on. */
  readonly share: () => number;
}

/** Reads a list to its end and hands each answer on, in order. Holds as many pages as it asks for at once. */
export const read = <Page extends AnyPage, Rows extends Answer, E, R, E2, R2>(
  { shape, pageSize, ask, isTooLarge = () => false, decode, start, share }: ListReaderOptions<
    Page,
    Rows,
    E,
    R
  >,
  onReading: (reading: Reading<Page, Rows>) => Effect.Effect<unknown, E2, R2>,
): Effect.Effect<void, E | E2, R | R2> => {
  /** Hands a page on, then goes on from the step that it is. */
  const take = <A, E3, R3>(
    walk: PageWalk.Walk,
    request: PageWalk.PageRequest,
    page: Page,
    proceed: (step: PageWalk.Step) => Effect.Effect<A, E3, R3>,
  ) => {
    const rows = decode(page);
    const step = PageWalk.receive(shape, walk, request, { rows: rows.walkRows, pagination: page.pagination });
    return Effect.flatMap(onReading({ ...step, request, page, rows }), () => proceed(step));
  };
  /**
   * Several pages at once: whoever has handed a page on passes the turn to the next, and asks for the page after the last
   * one. So it takes a fiber for each page under way, and not for each there is.
   */
  const inTurn = (
    begun: PageWalk.Walk,
    requests: ReadonlyArray<PageWalk.PageRequest>,
  ): Effect.Effect<PageWalk.Walk, E | E2, R | R2 | Scope.Scope> =>
    Effect.flatMap(Deferred.make<PageWalk.Walk, E | E2>(), (end) => {
      let walk = begun;
      // In the order of the list: the first has the turn.
      const asked = requests.map((request): Asked => ({ request, turn: Effect.unsafeMakeLatch() }));
      let last = requests.at(-1)!;
      const askAhead = (): Asked | undefined => {
        const request = asked.length < share() ? PageWalk.ahead(shape, walk, last) : undefined;
        if (request === undefined) return undefined;
        last = request;
        const one = { request, turn: Effect.unsafeMakeLatch() };
        asked.push(one);
        return one;
      };
      const proceed = (step: PageWalk.Step): Effect.Effect<unknown, E | E2, R | R2 | Scope.Scope> => {
        walk = step.walk;
        asked.shift();
        const own = step.onCourse && !walk.done ? askAhead() : undefined;
        const others: Array<Asked> = [];
        for (let more = own && askAhead(); more !== undefined; more = askAhead()) others.push(more);
        const [next] = asked;
        if (!step.onCourse || walk.done || next === undefined) return Deferred.succeed(end, walk);
        next.turn.unsafeOpen();
        const reading = own === undefined ? Effect.void : read(own);
        return others.length === 0 ? reading : Effect.zipRight(begin(others), reading);
      };
      const read = ({ request, turn }: Asked): Effect.Effect<unknown, E | E2, R | R2 | Scope.Scope> => {
        const page = Effect.catchAllCause(ask(request, turn.await), (cause) =>
          // It is no news before those ahead of it have been read, and then perhaps none at all.
          Effect.zipRight(turn.await, Effect.failCause(cause)));
        // Not every answer has waited: that there is no such page is known without one.
        return Effect.flatMap(
          Effect.zipLeft(page, turn.await),
          (page) => take(walk, request, page, proceed),
        );
      };
      const begin = (some: ReadonlyArray<Asked>) =>
        Effect.forEach(
          some,
          (one) =>
            Effect.forkScoped(Effect.catchAllCause(read(one), (cause) => Deferred.failCause(end, cause))),
          { discard: true },
        );
      asked[0]!.turn.unsafeOpen();
      return Effect.zipRight(begin([...asked]), Deferred.await(end));
    });
  const from = (walk: PageWalk.Walk): Effect.Effect<void, E | E2, R | R2> => {
    if (walk.done) return Effect.void;
    const planned = PageWalk.plan(shape, walk, Math.max(1, share()));
    const [first, ...others] = planned.requests;
    if (first !== undefined && first.size > pageSize) {
      return Effect.flatMap(
        Effect.either(ask(first)),
        (asked) =>
          Either.isRight(asked)
            ? take(planned.walk, first, asked.right, ({ walk }) => from(walk))
            : isTooLarge(asked.left)
            ? from(PageWalk.refused(planned.walk, pageSize))
            : Effect.fail(asked.left),
      );
    }
    // Most lists are one page, and a fiber for that alone would cost as much as its request.
    return first !== undefined && others.length === 0
      ? Effect.flatMap(ask(first), (page) => take(planned.walk, first, page, ({ walk }) => from(walk)))
      // What is still under way when the walk has taken another course is ended with the scope.
      : Effect.flatMap(Effect.scoped(inTurn(planned.walk, planned.requests)), from);
  };
  return Effect.suspend(() => from(start ?? PageWalk.begin(pageSize)));
};
