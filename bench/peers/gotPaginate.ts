/** The best-kept pieces off the shelf: `got.paginate`, a session at a time, into csv-stringify's stream. */
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { stringify } from "csv-stringify";
import got from "got";
import type { Job } from "../job.ts";

const time = (seconds: number) => new Date(seconds * 1000).toISOString().replace(".000", "");

const number = (text: string | null | undefined) =>
  text && Number.isFinite(Number(text)) ? Number(text) : null;

export const run = async ({ url, users, pageSize, out }: Job): Promise<void> => {
  const sessions = async function* () {
    for (const user of users) {
      // deno-lint-ignore no-explicit-any
      const pages = got.paginate<any>(`${url}/api/users/${user}/sessions`, {
        searchParams: { page: 1, size: pageSize, sort: "initiated_at:-1" },
        headers: { "x-api-key": "sandbox-key" },
        pagination: {
          paginate: ({ response }) => {
            const { has_next, current_page } = JSON.parse(response.headers["x-pagination"] as string);
            return has_next
              ? { searchParams: { page: current_page + 1, size: pageSize, sort: "initiated_at:-1" } }
              : false;
          },
        },
      });
      for await (const session of pages) {
        const {
          session_id,
          session_key,
          client_ids,
          initiated_at,
          expires_at,
          last_updated,
          last_metadata = {},
        } = session;
        const { country, region, city, latitude, longitude, ip_address, user_agent } = last_metadata ?? {};
        yield [user, session_id, session_key, JSON.stringify(client_ids)].concat(
          [time(initiated_at), time(expires_at), time(last_updated), country, region, city],
          [number(latitude), number(longitude), ip_address, user_agent, null] as Array<string>,
        );
      }
    }
  };
  const columns = ["user_id", "session_id", "session_key", "client_ids", "initiated_at", "expires_at"].concat(
    [
      "last_updated",
      "country",
      "region",
      "city",
      "latitude",
      "longitude",
      "ip_address",
      "user_agent",
      "_rescued_data",
    ],
  );
  await pipeline(
    Readable.from(sessions()),
    stringify({
      header: true,
      columns,
      record_delimiter: "\r\n",
      escape_formulas: true,
      // Or a line break alone would stand unquoted.
      quote_record_delimiter: true,
    }),
    createWriteStream(out["csv"]!),
  );
};
