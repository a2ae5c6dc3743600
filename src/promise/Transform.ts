/** Filters, maps and redactions, applied to sessions before anyone gets them. */
import * as Either from "effect/Either";
import * as Batch from "../session/Batch.ts";
import * as Redaction from "../session/Redaction.ts";
import * as Session from "../session/Session.ts";
import type { TransformOptions } from "../plain/SessionsOptions.ts";

type Filter = NonNullable<TransformOptions["filter"]>;
type Mapping = NonNullable<TransformOptions["map"]>;

const isPromise = (value: unknown): boolean => value instanceof Promise;

/** Checks the answers of the caller's filter: a promise would be taken for a yes. */
const checkedFilter = (doing: string, filter: Filter): Filter => (session, userId) => {
  const given: unknown = filter(session, userId);
  if (typeof given === "boolean") return given;
  const is = isPromise(given) ? "it is async" : `it returned ${given === null ? "null" : typeof given}`;
  throw new TypeError(`Cannot ${doing} as 'filter' must return true or false: ${is}`);
};

/** Checks the results of the caller's map. `describe` words what is wrong with it. */
const checkedMap =
  (doing: string, map: Mapping, describe: (flaw: Session.Flaw) => string): Mapping => (session, userId) => {
    const given: unknown = map(session, userId);
    if (isPromise(given)) {
      throw new TypeError(`Cannot ${doing} as 'map' must return a session: it is async`);
    }
    return Either.getOrThrowWith(Session.decode(given), (flaw) => {
      const which = `session ${JSON.stringify(session.session_id)} of user ${JSON.stringify(userId)}`;
      return new TypeError(
        `Cannot ${doing} as 'map' must return a session. What it returned for ${which} is none: ${
          describe(flaw)
        }`,
      );
    });
  };

/** Gives what is done to each batch. Throws a TypeError on a redaction that can't be. */
export const of = (
  doing: string,
  { filter, map, redact }: TransformOptions,
): (batch: Batch.Batch) => Batch.Batch => {
  // Where values are to be hidden, a message must not quote them.
  const describe = ({ message, ...flaw }: Session.Flaw) =>
    redact === undefined ? message : `wrong: ${Session.flawedFields({ message, ...flaw })}`;
  const keep = filter && checkedFilter(doing, filter);
  const change = map && checkedMap(doing, map, describe);
  const hide = redact && Redaction.make(redact.policy, redact.secret);
  return (batch) => {
    const kept = keep === undefined ? batch : Batch.filter(batch, keep);
    const changed = change === undefined ? kept : Batch.map(kept, change);
    return hide === undefined ? changed : hide(changed);
  };
};
