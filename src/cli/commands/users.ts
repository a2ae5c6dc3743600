/** The program of `monocloud-sessions users`. */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as UserSource from "../../source/UserSource.ts";
import { exitCodes } from "../ExitCode.ts";
import * as Settings from "../options/Settings.ts";
import type { Args } from "../options/UsersFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";
import { tenantLayer } from "./tenantLayer.ts";

const lineOf = (user: UserSource.User, isIds: boolean): string =>
  isIds ? Terminal.printable(user.user_id) : Terminal.printableJson(user);

/** Print each batch as it comes, and give why the list is not verified, if it is not. */
const printing = <E, R>(batches: Stream.Stream<UserSource.UserBatch, E, R>, isIds: boolean, counts: Counts) =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* Terminal.stdout().open;
    let reasons: ReadonlyArray<string> = [];
    yield* Stream.runForEach(batches, ({ users, total, unverifiedReasons }) => {
      counts.users += users.length;
      counts.total = total;
      reasons = unverifiedReasons ?? reasons;
      return sink.write(new TextEncoder().encode(users.map((user) => `${lineOf(user, isIds)}\n`).join("")));
    });
    yield* sink.commit;
    return reasons;
  }));

interface Counts {
  users: number;
  total: number | undefined;
}

export const run = ({ ids, quiet, rate, maxElapsed, verbose, ...args }: Args) =>
  Effect.gen(function* () {
    const tenant = yield* Settings.tenantFrom(args);
    const counts: Counts = { users: 0, total: undefined };
    const work = Effect.provide(
      printing(UserSource.all(), ids, counts),
      tenantLayer(tenant, { rate, maxElapsed }, verbose),
    );
    // On a terminal the list itself shows how far it has come.
    const reasons = yield* quiet || process.stdout.isTTY ? work : ProgressBar.counting(
      work,
      "users",
      () => ({ done: counts.users, total: counts.total ?? counts.users }),
    );
    if (reasons.length === 0) return;
    yield* Terminal.say([`Warning: the list of users is not verified: ${reasons.join("; ")}`]);
    process.exitCode = exitCodes.incomplete;
  });
