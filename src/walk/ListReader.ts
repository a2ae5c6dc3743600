/**
 * Carries a {@link PageWalk} out: asks, waits, and hands on what each answer delivers.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import type { Page } from "../tenant/HttpPolicy.ts";
import * as PageWalk from "./PageWalk.ts";

/** One answer, with what it means for the walk. */
export interface Reading<Row> extends PageWalk.Step {
  readonly request: PageWalk.PageRequest;
  readonly page: Page;
  readonly rows: ReadonlyArray<Row>;
}

/** How a list is read. */
export interface ListReaderOptions<Row, E, R> {
  readonly shape: PageWalk.ListShape;
  /** Rows a page, at most. */
  readonly pageSize: number;
  readonly ask: (request: PageWalk.PageRequest) => Effect.Effect<Page, E, R>;
  /** What a row is, decoded once. */
  readonly decode: (row: unknown) => Row;
  /** The fields for the walk to go by; a text that tells the row apart if they can't be relied on. */
  readonly fields: (row: Row, served: unknown) => PageWalk.Row;
  /** Where to go on from; from the beginning if left out. */
  readonly start?: PageWalk.Walk | undefined;
  /** How many pages may be asked for at once, now. They are held until the first of them has been handed on. */
  readonly share: () => number;
}

/** Reads a list to its end and hands each answer on, in order. Holds as many pages as it asks for at once. */
export const read = <Row, E, R, E2, R2>(
  { shape, pageSize, ask, decode, fields, start, share }: ListReaderOptions<Row, E, R>,
  onReading: (reading: Reading<Row>) => Effect.Effect<unknown, E2, R2>,
): Effect.Effect<void, E | E2, R | R2> => {
  const handOn = (
    walk: PageWalk.Walk,
    requests: ReadonlyArray<PageWalk.PageRequest>,
    pages: ReadonlyArray<Page>,
  ): Effect.Effect<PageWalk.Walk, E2, R2> => {
    const [request, page] = [requests[0], pages[0]];
    if (request === undefined || page === undefined || walk.done) return Effect.succeed(walk);
    const rows = page.rows.map(decode);
    const step = PageWalk.receive(shape, walk, request, {
      rows: rows.map((row, index) => fields(row, page.rows[index])),
      facts: page.facts,
    });
    return Effect.flatMap(
      onReading({ ...step, request, page, rows }),
      () => step.onCourse ? handOn(step.walk, requests.slice(1), pages.slice(1)) : Effect.succeed(step.walk),
    );
  };
  const from = (walk: PageWalk.Walk): Effect.Effect<void, E | E2, R | R2> => {
    if (walk.done) return Effect.void;
    const planned = PageWalk.plan(shape, walk, Math.max(1, share()));
    const [request] = planned.requests;
    // Most lists are one page: a fiber for that alone costs a fifth of the whole request.
    const asked = planned.requests.length === 1
      ? Effect.map(ask(request!), (page) => [page])
      : Effect.forEach(planned.requests, ask, { concurrency: "unbounded" });
    return asked.pipe(
      Effect.flatMap((pages) => handOn(planned.walk, planned.requests, pages)),
      Effect.flatMap(from),
    );
  };
  return Effect.suspend(() => from(start ?? PageWalk.begin(shape, pageSize)));
};
