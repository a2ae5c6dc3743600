/** The program of `monocloud-sessions check`. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as SessionFilters from "../../api/SessionFilters.ts";
import type { ApiError } from "../../api/ApiError.ts";
import * as SessionsApi from "../../api/SessionsApi.ts";
import * as TenantClient from "../../api/TenantClient.ts";
import * as UsersApi from "../../api/UsersApi.ts";
import type { Scanned } from "../../scan/PageScanner.ts";
import * as Sample from "../../source/activity/Sample.ts";
import { FIRST, LARGEST } from "../../source/paging/PageSizes.ts";
import { usageError } from "../ExitCode.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import type { Args } from "../options/CheckFlags.ts";
import * as Settings from "../options/Settings.ts";
import * as Terminal from "../ui/Terminal.ts";
import { tenantLayer } from "./tenantLayer.ts";

/** One line that says what is waited for, and since when. */
const waiting = (
  origin: string,
  traffic: TenantClient.Traffic,
  seconds: number,
  now: number,
): string => {
  const { retries, lastFailure, heldUntil } = traffic;
  return [
    `Waiting for ${origin} to answer`,
    ProgressBar.duration(seconds),
    ...(heldUntil > now ? [`held for ${Math.ceil((heldUntil - now) / 1000)}s by the tenant`] : []),
    ...(retries === 0 ? [] : [ProgressBar.plural(retries, "retry")]),
    ...(lastFailure === undefined ? [] : [`last failure: ${lastFailure}`]),
  ].join(", ");
};

/** Requests for what `--by-activity` reads of the list of users. */
const LISTS = 4;

/** Estimate the pages that a list takes: where the size is found out, larger ones after the first. */
const pagesOf = (total: number, given: number, pageSize: number | "auto"): number =>
  pageSize !== "auto" || given < FIRST || total <= FIRST
    ? Math.max(1, Math.ceil(total / given))
    : 1 + Math.ceil(total / LARGEST);

/** Say what a sample of users tells of their activity. */
const activityLines = (sampled: Sample.Sampled | undefined): ReadonlyArray<string> => {
  if (sampled === undefined) return [];
  const { users, with_sessions, contradicted, unknown, first } = sampled;
  return [
    `Of ${ProgressBar.plural(users, "user")} looked at, ${with_sessions} have sessions. ` +
    (contradicted === 0
      ? "None has one that is newer than the user's activity, so --by-activity can be tried: its sweeps go on measuring."
      : `${contradicted} of them have one that is newer than the user's activity, so --by-activity would miss changes: ${first}.`),
    ...(unknown === 0
      ? []
      : [`${ProgressBar.plural(unknown, "user")} could not be read once more, and may be further ones.`]),
  ];
};

/** Make one request or two, again where one fails and may not the next time. */
export const run = (args: Args) =>
  Effect.gen(function* () {
    if (args.activity && args.user !== undefined) {
      return yield* usageError("--activity looks at users of the whole tenant: leave out --user");
    }
    const tenant = yield* Settings.tenantFrom(args);
    const { rate, user } = args;
    const size = args.pageSize === "auto" ? FIRST : args.pageSize;
    const ask: Effect.Effect<
      TenantClient.Page<ReadonlyArray<unknown> | Scanned>,
      ApiError,
      TenantClient.TenantClient
    > = user === undefined
      ? UsersApi.page({ page: 1, size })
      : SessionsApi.page(user, { page: 1, size, ...SessionFilters.pick(args), sort: "initiated_at:-1" });

    const began = yield* Clock.currentTimeMillis;
    const looking = Effect.gen(function* () {
      const { rows, pagination } = yield* ask;
      const milliseconds = (yield* Clock.currentTimeMillis) - began;
      if (user !== undefined) return { rows, pagination, milliseconds };
      return {
        rows,
        pagination,
        milliseconds,
        active: yield* Sample.activeUsers(FIRST),
        activity: args.activity ? yield* Sample.sample : undefined,
      };
    });
    const { rows, pagination, milliseconds, active, activity } = yield* Effect.flatMap(
      TenantClient.TenantClient,
      ({ traffic }) =>
        args.quiet ? looking : ProgressBar.showing(
          looking,
          (began, now, width) => waiting(tenant.origin, traffic(), (now - began) / 1000, now).slice(0, width),
        ),
    ).pipe(
      Effect.provide(tenantLayer(tenant, { rate, maxElapsed: args.maxElapsed }, args.verbose)),
    );
    const count = "slices" in rows ? rows.slices.from.length : rows.length;
    const what = user === undefined ? "users" : "sessions";
    const isAll = pagination === undefined ? count < Math.min(size, 10) : !pagination.hasNext;
    const total = pagination?.total ?? (isAll ? count : undefined);
    const given = pagination?.pageSize ?? Math.max(1, count);
    const pages = total === undefined ? undefined : pagesOf(total, given, args.pageSize);
    // How long a rate takes that is yet to be found, nobody knows.
    const secondsOf = (requests: number) => rate === "auto" ? undefined : requests / rate;
    const estimateOf = (requests: number) => ({ requests, seconds: secondsOf(requests) });
    // Users are exported with one request each at the least, and their own list has to be read as well.
    const full = pages === undefined || total === undefined
      ? undefined
      : estimateOf(pages + (user === undefined ? total : 0));
    const estimates = full === undefined || user !== undefined ? undefined : {
      full,
      hourly: full,
      ...(active === undefined
        ? {}
        : { hourly_by_activity: estimateOf(Math.min(full.requests, active + LISTS)) }),
      prune: full,
    };
    if (args.json) {
      const result = {
        tenant: tenant.origin,
        user,
        [what]: total,
        pageSize: given,
        milliseconds,
        requests: full?.requests,
        seconds: full?.seconds,
        active_users: active,
        estimates,
        activity,
      };
      return yield* Terminal.print([Terminal.printableJson(result)]);
    }
    const costs = (
      { requests, seconds }: { readonly requests: number; readonly seconds: number | undefined },
    ) =>
      ProgressBar.plural(requests, "request") + (
        rate === "auto" || seconds === undefined
          ? ""
          : `: ${ProgressBar.duration(Math.max(seconds, 1))} at ${ProgressBar.perSecond(rate)}`
      );
    const byActivity = estimates?.hourly_by_activity;
    yield* Terminal.print([
      `${tenant.origin} answers and accepts the key (${milliseconds} ms).`,
      total === undefined
        ? `There are ${count} ${what} or more: the tenant does not say how many.`
        : `There are ${ProgressBar.count(total)} ${what}${user === undefined ? "" : ` of ${user}`}.`,
      ...(given < size && pagination !== undefined ? [`The tenant gives at most ${given} a page.`] : []),
      ...(full === undefined ? [] : [
        `An export takes ${user === undefined ? "at least" : "about"} ${costs(full)}.`,
      ]),
      ...(estimates === undefined ? [] : [
        "So does each run with --since-last or --prune" + (byActivity === undefined
          ? "."
          : `; with --by-activity an hourly one takes about ${costs(byActivity)}, as ${
            ProgressBar.plural(active!, "user")
          } were active in the last hour.`),
      ]),
      ...activityLines(activity),
    ].map(Terminal.printable));
  });
