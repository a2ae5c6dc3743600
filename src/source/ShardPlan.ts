/**
 * The plan of a run in shards: users dealt to a number of shards of about the same weight.
 *
 * A user's walk is one request after another, so the longest user bounds the run: a user who weighs as much as a shard should is
 * one alone, and shards come in the order of their heaviest users.
 */

/** A shard that came to no end, and why. */
export interface FailedShard {
  readonly shard: number;
  readonly message: string;
}

/**
 * Deal users to so many shards at the most, in ranges of the order in which they come, none of them empty. A user weighs 1 unless
 * it is said otherwise: the requests that are expected.
 */
export const deal = (
  users: ReadonlyArray<string>,
  count: number,
  weightOf: (userId: string) => number = () => 1,
): ReadonlyArray<ReadonlyArray<string>> => {
  const weights = users.map(weightOf);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const fair = total / count;
  interface Shard {
    readonly users: Array<string>;
    weight: number;
    heaviest: number;
  }
  const alone: Array<Shard> = [];
  const rest: Array<number> = [];
  for (const [at, userId] of users.entries()) {
    const weight = weights[at]!;
    // One place is kept for those that are left.
    if (weight > 1 && weight >= fair && alone.length < count - 1) {
      alone.push({ users: [userId], weight, heaviest: weight });
    } else rest.push(at);
  }
  const left = Math.min(count - alone.length, rest.length);
  const weightLeft = rest.reduce((sum, at) => sum + weights[at]!, 0);
  const ranges: Array<Shard> = Array.from({ length: left }, () => ({ users: [], weight: 0, heaviest: 0 }));
  let [before, shard] = [0, 0];
  for (const [index, at] of rest.entries()) {
    const weight = weights[at]!;
    // The next one begins where its share does, and no later than leaves a user for each that follows.
    const share = Math.floor(before / weightLeft * left);
    const latest = left - (rest.length - index);
    const isEmpty = ranges[shard]!.users.length === 0;
    if (!isEmpty && shard < left - 1 && (share > shard || latest >= shard + 1)) shard++;
    const its = ranges[shard]!;
    its.users.push(users[at]!);
    its.weight += weight;
    its.heaviest = Math.max(its.heaviest, weight);
    before += weight;
  }
  return [...alone, ...ranges]
    .sort((one, other) => other.heaviest - one.heaviest || other.weight - one.weight)
    .map(({ users }) => users);
};
