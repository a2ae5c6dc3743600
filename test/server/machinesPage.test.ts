/** Runs on many machines and their workers on the server's page, in a real browser. */
import { describe, expect, it } from "vitest";
import { until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { hasChromium } from "../programs.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { complaints, open, picture } from "./browser.ts";
import { place, sync, work } from "./machines.ts";
import { serve, token } from "./serving.ts";

describe.skipIf(!hasChromium || !hasPostgres)("over a queue in PostgreSQL (needs Chromium)", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });

  it(
    "shows the runs on many machines and their workers, by names that screen readers say, on a phone",
    async () => {
      const { env, served } = await place(postgres());
      const server = await serve("Node", { ...served, WORKER_FOLDER: await newFolder() });
      const page = await (await open()).newPage({ viewport: { width: 320, height: 800 } });
      const section = page.getByRole("region", { name: "Many machines" });
      await page.goto(server.url);
      await page.getByLabel("Token of this server").waitFor();
      expect(await section.count()).toBe(0);
      const said = complaints(page);
      await page.getByLabel("Token of this server").fill(token);
      await page.keyboard.press("Enter");
      await section.waitFor();
      expect(await section.getByText("There are none now.").count()).toBe(2);
      const worker = work(env, "8/s");
      const syncing = sync(env, 6, "8/s");
      const runs = section.getByRole("list", { name: "Runs" }).getByRole("listitem");
      await runs.getByText("default to default").waitFor();
      const bar = runs.getByRole("progressbar", { name: /^Shards of \S+ done$/ });
      await until(
        async () => await bar.evaluate((bar: HTMLProgressElement) => bar.max === 6 && bar.value > 0),
        "the bar moves",
      );
      expect(await runs.textContent()).toMatch(/1 worker.*[1-5] of 6 shards.*\d+ of 40 users/);
      const workers = section.getByRole("list", { name: "Workers" }).getByRole("listitem");
      expect(await workers.textContent()).toMatch(/-\d+-[0-9a-f]{4}\d shards? now, tenants default/);
      const { scroll, client } = await page.evaluate(() => ({
        scroll: document.documentElement.scrollWidth,
        client: document.documentElement.clientWidth,
      }));
      expect(scroll).toBeLessThanOrEqual(client);
      await picture(page, "machines");
      expect(await syncing.done).toMatchObject({ code: 0 });
      worker.kill("SIGKILL");
      await workers.getByText("No sign of life").waitFor();
      expect(await runs.count()).toBe(0);
      expect(said).toEqual([]);
    },
    120_000,
  );
});
