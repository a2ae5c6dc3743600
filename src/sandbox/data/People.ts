/** The users themselves, as `GET /api/users` lists them: large objects of which an export needs the id alone. */
import { Draws, fraction, hash } from "./Hash.ts";
import type { Ranked } from "./Pages.ts";
import type { Active } from "./Active.ts";
import type { Population } from "./Population.ts";

/** One user as the sandbox serves it. */
export interface SandboxUser {
  readonly user_id: string;
  /** Seconds since the epoch, as are the other times. */
  readonly creation_time: number;
  readonly last_updated: number;
  /** When the user was last active: at the latest change of a session, or at a sign-in or use before. */
  readonly last_activity: number | null;
  readonly [field: string]: unknown;
}

/** The fields by which the list of users can be sorted. */
export type UserKey = "creation_time" | "last_updated" | "last_activity";

/** The users of a population, computed as they are asked for. */
export type People = ReturnType<typeof make>;

const givenNames = [
  "Ada",
  "Björn",
  "Chloë",
  "Đorđe",
  "Emeka",
  "Fatıma",
  "Guðrún",
  "Hiroshi",
  "Inés",
  "Zoë",
  "山田",
];
const familyNames = [
  "Lovelace",
  "Müller",
  "O'Neil",
  "García Márquez",
  "Nguyễn",
  "Иванова",
  "Smith, Jr.",
  "太郎",
];
const locales = ["en-US", "de-DE", "pt-BR", "ja-JP", "fr-CH"];
const zones = ["America/Los_Angeles", "Europe/Berlin", "America/Sao_Paulo", "Asia/Tokyo", "Europe/Zurich"];

/** Makes the users of a population. Holds the rows of the last filter. */
export const make = (population: Population, active: Active) => {
  const { seed, users, from, until } = population;
  // Created in the first half of the time and updated in the second, each in a slot of their own: two orders,
  // no sort.
  const half = (until - from) / 2;
  const time = (slot: number, salt: number) => (slot + fraction(hash(seed, slot, salt))) / users * half;
  const created = (user: number) => from + Math.floor(time(user, 51));
  const updated = (user: number) => Math.ceil(from + half) + Math.floor(time(slotOf(user), 52));

  // Its own inverse: about every other user changes places with its mirror image.
  const slotOf = (user: number): number => {
    const mirror = users - 1 - user;
    return (hash(seed, Math.min(user, mirror), 53) & 1) === 1 ? mirror : user;
  };

  const email = (user: number) =>
    `user${user}@${(hash(seed, user, 54) & 3) === 0 ? "example.org" : "example.com"}`;

  let filtered: { readonly filter: string; readonly rows: readonly number[] } | undefined;
  const matching = (filter: string): readonly number[] => {
    if (filtered?.filter !== filter) {
      const rows: number[] = [];
      for (let user = 0; user < users; user++) if (email(user).includes(filter)) rows.push(user);
      filtered = { filter, rows };
    }
    return filtered.rows;
  };

  let byActivity: { readonly name: string; readonly rows: readonly number[] } | undefined;
  /** Users without activity come last where the latest is first. */
  const sortedByActivity = (filter: string | undefined): Ranked => {
    const name = JSON.stringify([active.changes, filter]);
    if (byActivity?.name !== name) {
      const rows = filter === undefined ? Array.from({ length: users }, (_, user) => user) : matching(filter);
      const times = new Map(rows.map((user) => [user, active.activity(user) ?? -1]));
      byActivity = { name, rows: [...rows].sort((a, b) => times.get(a)! - times.get(b)!) };
    }
    const { rows } = byActivity;
    return {
      length: rows.length,
      row: (rank) => rows[rank]!,
      value: (rank) => active.activity(rows[rank]!) ?? -1,
    };
  };

  return {
    user(user: number): SandboxUser {
      const draws = new Draws(hash(seed, user, 55));
      const given = draws.pick(givenNames);
      const family = draws.pick(familyNames);
      const person = draws.below(locales.length);
      return {
        user_id: population.userId(user),
        creation_time: created(user),
        last_updated: updated(user),
        last_activity: active.activity(user) ?? null,
        enabled: !draws.chance(0.02),
        username: draws.chance(0.5) ? `user${user}` : null,
        name: `${given} ${family}`,
        given_name: given,
        family_name: family,
        middle_name: null,
        nickname: null,
        picture: draws.chance(0.3) ? `https://images.example.com/${user}.png` : null,
        locale: locales[person],
        zoneinfo: zones[person],
        birthdate: null,
        emails: [{ email: email(user), verified: draws.chance(0.9), primary: true }],
        phones: draws.chance(0.2)
          ? [{ phone: `+1555${String(user).padStart(7, "0")}`, verified: false }]
          : [],
        groups: draws.chance(0.1) ? ["administrators"] : [],
        has_password: draws.chance(0.7),
        passkeys: [],
        external_authenticators: [],
        public_data: { theme: draws.pick(["dark", "light"]), newsletter: draws.chance(0.4) },
        private_data: {
          note: 'called "the boss",\nprefers e-mail',
          plan: draws.pick(["free", "team", "enterprise"]),
        },
        last_sign_in: until - draws.below(until - from + 1),
      };
    },
    /** Gives the list sorted by a field; with a filter, only those whose email contains it, which takes a look at each. */
    sorted(key: UserKey, filter: string | undefined): Ranked {
      if (key === "last_activity") return sortedByActivity(filter || undefined);
      const value = key === "creation_time" ? created : updated;
      if (filter === undefined || filter === "") {
        const row = key === "creation_time" ? (rank: number) => rank : slotOf;
        return { length: users, row, value: (rank) => value(row(rank)) };
      }
      const found = matching(filter);
      const rows = key === "creation_time" ? found : [...found].sort((a, b) => slotOf(a) - slotOf(b));
      return {
        length: rows.length,
        row: (rank) => rows[rank] as number,
        value: (rank) => value(rows[rank] as number),
      };
    },
  };
};
