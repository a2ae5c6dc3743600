/** The flags that several commands have. */
import * as SessionFilters from "../../api/SessionFilters.ts";
import { leastSize, LOOKBACK, mostSize } from "../../source/paging/Limits.ts";
import { LARGEST } from "../../source/paging/PageSizes.ts";
import * as Flag from "./Flag.ts";
import * as Read from "./Read.ts";

export const connection = {
  domain: Flag.text({
    name: "domain",
    placeholder: "HOST",
    text: "As acme.eu.monocloud.com.",
    byDefault: "MONOCLOUD_DOMAIN",
  }),
  apiKeyFile: Flag.text({
    name: "api-key-file",
    placeholder: "FILE",
    text: "A file of the API key alone.",
    byDefault: "MONOCLOUD_API_KEY",
    isPath: true,
  }),
};

export const filters = SessionFilters.mapFilters(({ query, placeholder, description }) =>
  Flag.text({ name: query.replaceAll("_", "-"), placeholder, text: description })
);

export const rate = Flag.value({
  name: "rate",
  placeholder: "N/s|auto",
  text: "Most requests a second, minute or hour; fewer after 429. auto finds what the tenant allows.",
  byDefault: "20/s",
  words: ["auto"],
  ...Read.rate,
});

/** The patience with a tenant that fails or asks to be left alone, in milliseconds. */
export const maxElapsed = (byDefault: string) =>
  Flag.value({
    name: "max-elapsed",
    placeholder: "TIME",
    text: "How long to retry a request: 90s or 2h.",
    byDefault,
    ...Read.duration,
  });

export const pageSize = Flag.value({
  name: "page-size",
  placeholder: "N|auto",
  text:
    `Sessions to ask for at a time, ${leastSize} to ${mostSize}; auto finds out what the tenant gives, up to ${LARGEST}.`,
  byDefault: "auto",
  words: ["auto"],
  ...Read.wholeOrAuto(leastSize, mostSize),
});

/** Flags of runs that read what has changed, perhaps only of users who were active. */
export const changes = {
  byActivity: Flag.toggle(
    "by-activity",
    "Ask only users active since the last run.",
  ),
  sweepEvery: Flag.value({
    name: "sweep-every",
    placeholder: "TIME",
    text: "How often all users are asked.",
    byDefault: "24h",
    ...Read.duration,
  }),
  lookback: Flag.value({
    name: "lookback",
    placeholder: "SECONDS",
    text: "How far to look back for late changes.",
    byDefault: `${LOOKBACK}`,
    ...Read.whole(0, 31 * 86_400),
  }),
};

/** Flags for what is told while a command runs. */
export const reporting = {
  json: Flag.toggle("json", "Print the result or the error as one JSON object on stdout."),
  quiet: Flag.toggle("quiet", "Show no progress and no summary, only what went wrong."),
};

/** The same flags, of a command that makes requests. */
export const talking = {
  ...reporting,
  verbose: Flag.toggle("verbose", "Tell each request on stderr: its path, status and milliseconds."),
};
