/**
 * Generated `last_metadata`: where a session was last used and with what, mostly ordinary, a few percent odd in every way an
 * export has to survive.
 */
import { Draws, hash } from "./Hash.ts";

/** The client that last used a session. Each field is a string, null or absent. */
export interface SandboxMetadata {
  readonly country?: string | null;
  readonly city?: string | null;
  /** Degrees north, as text. */
  readonly latitude?: string | null;
  readonly ip_address?: string | null;
  readonly region?: string | null;
  readonly user_agent?: string | null;
  /** Degrees east, as text. */
  readonly longitude?: string | null;
}

type Place = readonly [country: string, region: string, city: string, north: number, east: number];

const places: readonly Place[] = [
  ["United States of America", "North America", "Los Angeles", 34.043238, -118.250918],
  ["United States of America", "North America", "New York", 40.7128, -74.006],
  ["Germany", "Europe", "Berlin", 52.52, 13.405],
  ["United Kingdom", "Europe", "London", 51.5072, -0.1276],
  ["India", "Asia", "Mumbai", 19.076, 72.8777],
  ["Brazil", "South America", "São Paulo", -23.5505, -46.6333],
  ["France", "Europe", "Paris", 48.8566, 2.3522],
  ["Australia", "Oceania", "Sydney", -33.8688, 151.2093],
  ["Japan", "Asia", "Tokyo", 35.6762, 139.6503],
  ["Switzerland", "Europe", "Zürich", 47.3769, 8.5417],
  ["Kenya", "Africa", "Nairobi", -1.2921, 36.8219],
  ["Poland", "Europe", "Kraków", 50.0647, 19.945],
  ["Canada", "North America", "Montréal", 45.5019, -73.5674],
  ["Iceland", "Europe", "Reykjavík", 64.1466, -21.9426],
  ["Côte d'Ivoire", "Africa", "Abidjan", 5.36, -4.0083],
  ["Argentina", "South America", "Buenos Aires", -34.6037, -58.3816],
];

const localNames: readonly (readonly [country: string, city: string])[] = [
  ["日本", "東京"],
  ["Россия", "Москва"],
  ["مصر", "القاهرة"],
  ["ישראל", "תל אביב"],
  ["Ελλάδα", "Αθήνα"],
  ["भारत", "मुंबई"],
  ["ประเทศไทย", "กรุงเทพฯ"],
  ["대한민국", "서울"],
  ["中国", "𠮷安 🏯"],
  ["🇧🇷 Brasil", "Rio 🏖️👩‍👩‍👧"],
];

const versions = Array.from({ length: 12 }, (_, index) => 118 + index);

const agents: readonly (readonly string[])[] = [
  versions.map((v) => `Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/${v}.0.0.0 Safari/537.36`),
  versions.map((v) =>
    `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/${v % 4 + 15}.1 Safari/605.1.15`
  ),
  versions.map((v) =>
    `Mozilla/5.0 (iPhone; CPU iPhone OS ${v % 4 + 15}_2 like Mac OS X) AppleWebKit/605.1.15`
  ),
  versions.map((v) =>
    `Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/${v}.0.0.0 Mobile Safari/537.36`
  ),
  versions.map((v) => `Mozilla/5.0 (X11; Linux x86_64; rv:${v}.0) Gecko/20100101 Firefox/${v}.0`),
  versions.map((v) => `acme-mobile/${v % 9}.${v % 7}.0 (build ${v})`),
];

/** Each turns an ordinary value into one that has broken an export somewhere. */
const oddities: readonly ((usual: SandboxMetadata, draws: Draws) => SandboxMetadata | null | undefined)[] = [
  () => null,
  () => undefined,
  () => ({}),
  (usual) => ({ ...usual, country: null, region: null, city: null, latitude: null, longitude: null }),
  ({ ip_address, user_agent }) => ({ ip_address: ip_address ?? null, user_agent: user_agent ?? null }),
  (usual) => ({ ...usual, city: "", region: "", user_agent: "" }),
  (usual, draws) => {
    const [country, city] = draws.pick(localNames);
    return { ...usual, country, city };
  },
  (usual, draws) => ({ ...usual, user_agent: draws.pick(formulas) }),
  (usual, draws) => ({ ...usual, user_agent: draws.pick(punctuation), city: draws.pick(punctuation) }),
  (usual, draws) => ({ ...usual, latitude: draws.pick(["unknown", "", "N/A"]), longitude: "unknown" }),
  (usual) => ({ ...usual, latitude: "-0.000001", longitude: "180" }),
];

const formulas: readonly string[] = [
  '=HYPERLINK("https://example.com/?q="&A1,"open")',
  "+1",
  "-1+1",
  "@SUM(1,1)",
  "\t=1+1",
  "\r=1+1",
  " =1+1",
  "\n=1+1",
  "\u00a0=1+1",
  "\ufeff=1+1",
  "|calc",
  "%0",
];

const punctuation: readonly string[] = [
  'Agent "quoted", with comma',
  "two\nlines",
  "windows\r\nlines",
  "tab\tinside",
  "  led by spaces",
  "trailed by spaces  ",
  '"',
  ",",
  "back\\slash",
  "null",
  "📱 App/1.0 — naïve",
];

/** The share of sessions with something odd in their metadata. */
const oddRate = 0.04;

const address = (draws: Draws): string => {
  const word = draws.word();
  if (draws.chance(0.15)) return `2001:db8:${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}::1`;
  return `${(word >>> 24) % 223 + 1}.${word >>> 16 & 255}.${word >>> 8 & 255}.${word & 255}`;
};

interface Whereabouts {
  readonly place: Place;
  readonly latitude: string;
  readonly longitude: string;
  readonly address: string;
}

const whereabouts = (draws: Draws): Whereabouts => {
  const skew = draws.fraction();
  const place = places[Math.floor(skew * skew * places.length)] as Place;
  return {
    place,
    latitude: (place[3] + draws.fraction() * 0.1).toFixed(6),
    longitude: (place[4] + draws.fraction() * 0.1).toFixed(6),
    address: address(draws),
  };
};

/**
 * Makes the metadata of session `index` of user `user`, where undefined stands for an absent field. Holds the home of the
 * last user asked for.
 */
export const make = (seed: number): (user: number, index: number) => SandboxMetadata | null | undefined => {
  let resident = -1;
  let home: Whereabouts | undefined;
  let device = 0;

  return (user, index) => {
    if (home === undefined || user !== resident) {
      const draws = new Draws(hash(seed, user, 41));
      home = whereabouts(draws);
      device = draws.below(agents.length);
      resident = user;
    }
    const draws = new Draws(hash(seed, user, index, 42));
    // People sign in from home, mostly, and with one device: such repetition is what makes columns compress.
    const at = draws.chance(0.85) ? home : whereabouts(draws);
    const agent = agents[draws.chance(0.8) ? device : draws.below(agents.length)] as readonly string[];
    const usual: SandboxMetadata = {
      country: at.place[0],
      city: at.place[2],
      latitude: at.latitude,
      ip_address: at.address,
      region: at.place[1],
      user_agent: draws.pick(agent),
      longitude: at.longitude,
    };
    return draws.chance(oddRate) ? draws.pick(oddities)(usual, draws) : usual;
  };
};
