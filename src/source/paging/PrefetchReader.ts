/** Carries a {@link PageWalk} out: asks, waits, and hands on what each answer delivers. */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { PaginationHeader } from "../../api/PaginationHeader.ts";
import type { PageSizes } from "./PageSizes.ts";
import * as PageWalk from "./PageWalk.ts";

export interface AnyPage {
  readonly pagination: PaginationHeader | undefined;
  readonly bytes: number;
  readonly milliseconds: number;
}

/** A request; sent once where another will do if it fails. */
export interface Request extends PageWalk.PageRequest {
  readonly once?: true | undefined;
}

/**
 * The meaning of a failure for the size of its page: the tenant does not take that (`refused`), a smaller page may do (`heavy`),
 * the same may the next time (`transient`), or it has nothing to do with it.
 */
export type SizeFault = "refused" | "heavy" | "transient" | undefined;

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
  readonly sizes: PageSizes;
  /** Asks for a page, which is parsed no sooner than its turn has come. */
  readonly ask: (request: Request, turn?: Effect.Effect<void>) => Effect.Effect<Page, E, R>;
  /** Decodes the rows of an answer. */
  readonly decode: (page: Page) => Rows;
  readonly faultOf: (error: E) => SizeFault;
  /** The state to go on from. @default {the beginning} */
  readonly start?: PageWalk.Walk | undefined;
  /** Gives the number of pages that may be asked for at once, now. Each is held until those before it have been handed on. */
  readonly share: () => number;
}

/** Reads a list to its end and hands each answer on, in order. Holds as many pages as it asks for at once. */
export const read = <Page extends AnyPage, Rows extends Answer, E, R, E2, R2>(
  { shape, sizes, ask, faultOf, decode, start, share }: ListReaderOptions<Page, Rows, E, R>,
  onReading: (reading: Reading<Page, Rows>) => Effect.Effect<unknown, E2, R2>,
): Effect.Effect<void, E | E2, R | R2> => {
  /** Hands a page on, then goes on from the step that it is. */
  const take = <A, E3, R3>(
    walk: PageWalk.Walk,
    request: PageWalk.PageRequest,
    page: Page,
    rows: Rows,
    proceed: (step: PageWalk.Step) => Effect.Effect<A, E3, R3>,
  ) => {
    const step = PageWalk.receive(shape, walk, request, { rows: rows.walkRows, pagination: page.pagination });
    return Effect.flatMap(onReading({ ...step, request, page, rows }), () => proceed(step));
  };
  /** Takes an answer of a size that is proven. */
  const answered: <A, E3, R3>(
    walk: PageWalk.Walk,
    request: PageWalk.PageRequest,
    page: Page,
    proceed: (step: PageWalk.Step) => Effect.Effect<A, E3, R3>,
  ) => Effect.Effect<A, E2 | E3, R2 | R3> = (walk, request, page, proceed) => {
    const rows = decode(page);
    sizes.answered(request.size, { ...page, count: rows.walkRows.count });
    return take(walk, request, page, rows, proceed);
  };
  /** Goes over to smaller pages, if a request failed for its size; undefined if not. */
  const shrink = (
    walk: PageWalk.Walk,
    { size, once }: Request,
    error: E,
  ): PageWalk.Walk | undefined => {
    const fault = faultOf(error);
    if (fault === undefined || (fault === "transient" && once !== true)) return undefined;
    const isUnproven = sizes.isUnproven(size);
    const next = sizes.stepDown(size, fault === "refused");
    if (next === undefined || !walk.overlapping) return undefined;
    if (size > walk.size) return PageWalk.refused(walk, walk.size);
    // Too much of what others have had: it is the rows of this list.
    const smaller = isUnproven ? PageWalk.resize(shape, walk, next) : walk;
    return smaller === walk ? PageWalk.refused(walk, next) : smaller;
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
        return Effect.matchEffect(Effect.zipLeft(page, turn.await), {
          onFailure: (error) => {
            const smaller = shrink(walk, request, error);
            return smaller === undefined ? Effect.fail(error) : Deferred.succeed(end, smaller);
          },
          onSuccess: (page): Effect.Effect<unknown, E | E2, R | R2 | Scope.Scope> =>
            answered(walk, request, page, proceed),
        });
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
  /** Goes on with smaller pages after a failure, or fails. */
  const smallerOr = (
    walk: PageWalk.Walk,
    request: Request,
    error: E,
  ): Effect.Effect<void, E | E2, R | R2> => {
    const smaller = shrink(walk, request, error);
    return smaller === undefined ? Effect.fail(error) : from(smaller, smaller.size);
  };
  /** Asks for a page of a size that nobody has had yet. */
  const askUnproven = (walk: PageWalk.Walk, planned: PageWalk.PageRequest) => {
    // Pages 1, 2, 3… are not given up for smaller ones.
    const isTrial = walk.overlapping && sizes.isTrial(planned.size);
    const request: Request = { ...planned, ...(isTrial && { once: true as const }) };
    if (isTrial) sizes.trying(true);
    return Effect.matchEffect(
      Effect.ensuring(ask(request), Effect.sync(() => isTrial && sizes.trying(false))),
      {
        onFailure: (error) => smallerOr(walk, request, error),
        onSuccess: (page): Effect.Effect<void, E | E2, R | R2> => {
          const rows = decode(page);
          if (sizes.answered(request.size, { ...page, count: rows.walkRows.count })) {
            return take(walk, request, page, rows, ({ walk }) => from(walk));
          }
          const next = sizes.stepDown(request.size, true) ?? walk.size;
          const smaller = request.size > walk.size
            ? PageWalk.refused(walk, walk.size)
            : PageWalk.resize(shape, walk, next);
          // One that has no other size takes what it is given.
          return smaller === walk ? take(walk, request, page, rows, ({ walk }) => from(walk)) : from(smaller);
        },
      },
    );
  };
  /** Goes on, with a next page of up to `most` rows. */
  const from = (begun: PageWalk.Walk, most = sizes.rest()): Effect.Effect<void, E | E2, R | R2> => {
    if (begun.done) return Effect.void;
    // Pages asked for ahead keep their size: none are while larger ones are to be had soon.
    const isWaiting = sizes.isTrying() || most < sizes.rest();
    const { walk, requests } = PageWalk.plan(
      shape,
      PageWalk.resize(shape, begun, most),
      isWaiting ? 1 : Math.max(1, share()),
    );
    const [first, ...others] = requests;
    if (first !== undefined && sizes.isUnproven(first.size)) return askUnproven(walk, first);
    // Most lists are one page, and a fiber for that alone would cost as much as its request.
    return first !== undefined && others.length === 0
      ? Effect.matchEffect(ask(first), {
        onFailure: (error) => smallerOr(walk, first, error),
        onSuccess: (page) => answered(walk, first, page, ({ walk }) => from(walk)),
      })
      // What is still under way when the walk has taken another course is ended with the scope.
      : Effect.flatMap(Effect.scoped(inTurn(walk, requests)), (walk) => from(walk));
  };
  return Effect.suspend(() => from(start ?? PageWalk.begin(sizes.first())));
};
