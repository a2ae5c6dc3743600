/** The server's page, in a real browser. */
import { readdir, readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { describe, expect, it, onTestFinished } from "vitest";
import { make, type SandboxOptions, serve as serveSandbox } from "../../src/sandbox/mod.ts";
import { keysIn, keysOf, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { hasChromium } from "../programs.ts";
import { complaints, open, picture } from "./browser.ts";
import { ended, runtimes, serve, startExport, token } from "./serving.ts";

const tenant = async (options: SandboxOptions) => {
  const sandbox = make(options);
  const server = await serveSandbox(sandbox);
  onTestFinished(() => server.close());
  return { sandbox, env: { MONOCLOUD_DOMAIN: server.url, MONOCLOUD_API_KEY: sandbox.key } };
};

describe.skipIf(!hasChromium).each(runtimes)("on %s (needs Chromium)", (runtime) => {
  it(
    "signs in, starts an export, watches, cancels and resumes it, downloads what it wrote and deletes it, by keyboard alone",
    async () => {
      const { sandbox, env } = await tenant({ users: 60, sessionsPerUser: 20 });
      const folder = await newFolder();
      const server = await serve(runtime, { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "25" });
      const page = await (await open()).newPage({ viewport: { width: 390, height: 844 } });
      await page.goto(server.url);
      await page.getByLabel("Token of this server").waitFor();
      await picture(page, "sign-in");
      await page.getByLabel("Token of this server").focus();
      await page.keyboard.type("not-the-token-of-it");
      await page.keyboard.press("Enter");
      await page.getByRole("status").getByText("Send the server's token").waitFor();
      await page.getByLabel("Token of this server").fill(token);
      await page.keyboard.press("Enter");
      await page.getByText("There are none yet.").waitFor();
      const said = complaints(page);

      // The button to start is where one is after signing in; the formats are before it.
      await until(
        () => page.evaluate(() => document.activeElement?.textContent === "Start"),
        "Start has the focus",
      );
      await page.getByLabel("ndjson", { exact: true }).focus();
      await page.keyboard.press("Space");
      await page.getByLabel("gzip").focus();
      await page.keyboard.press("Space");
      await page.getByRole("button", { name: "Start" }).focus();
      await page.keyboard.press("Enter");
      const item = page.locator("#exports > li");
      await item.getByText("Running").waitFor();
      const done = () => item.locator("progress").evaluate((bar: HTMLProgressElement) => bar.value);
      await until(async () => await done() > 3, "the bar moves");
      await picture(page, `running-${runtime}`);
      await item.getByRole("button", { name: "Cancel" }).focus();
      await page.keyboard.press("Enter");
      await item.getByText("Cancelled").waitFor();
      await until(
        () => page.evaluate(() => document.activeElement?.textContent === "Resume"),
        "Resume has the focus",
      );
      expect(sandbox.counts.total).toBeLessThan(60);
      await picture(page, `cancelled-${runtime}`);
      await page.keyboard.press("Enter");
      await item.getByText("Done").waitFor({ timeout: 30_000 });
      expect(await item.locator(".progress").textContent()).toContain("1,200 sessions, 60 of 60 users");

      await item.locator("summary").focus();
      await page.keyboard.press("Enter");
      const link = item.getByRole("link", { name: "ndjson/part-00000.ndjson.gz" });
      await link.waitFor();
      await picture(page, `done-${runtime}`);
      const texts: Array<string> = [];
      for (const name of await item.getByRole("link", { name: /^ndjson/ }).allTextContents()) {
        const coming = page.waitForEvent("download");
        await item.getByRole("link", { name }).focus();
        await page.keyboard.press("Enter");
        texts.push(gunzipSync(await readFile(await (await coming).path())).toString());
      }
      expect(keysIn(texts.join(""))).toEqual(keysOf(sandbox));
      expect(await item.getByRole("link", { name: "manifest.json" }).count()).toBe(1);
      expect(said).toEqual([]);

      await page.reload();
      await item.getByText("Done").waitFor();
      const remove = item.getByRole("button", { name: "Delete" });
      page.once("dialog", (dialog) => dialog.dismiss());
      await remove.focus();
      await page.keyboard.press("Enter");
      await until(
        () => page.evaluate(() => document.activeElement?.textContent === "Delete"),
        "nothing is deleted that is not confirmed",
      );
      page.once("dialog", (dialog) => dialog.accept());
      await page.keyboard.press("Enter");
      await page.getByText("There are none yet.").waitFor();
      expect(await item.count()).toBe(0);
      expect((await readdir(folder)).filter((name) => !name.includes("lock"))).toEqual([]);
      await until(
        () => page.evaluate(() => document.activeElement?.textContent === "Start"),
        "Start has the focus",
      );
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByLabel("Token of this server").waitFor();
      expect(await page.locator("#exports > li").count()).toBe(0);
    },
    120_000,
  );
});

it.skipIf(!hasChromium)(
  "fits a phone and a screen, by daylight and in the dark, and names its controls",
  async () => {
    const { env, sandbox } = await tenant({ users: 3 });
    const server = await serve("Node", { ...env, WORKER_FOLDER: await newFolder() });
    const browser = await open();
    for (
      const [id, formats] of [[[...sandbox.userIds()], ["parquet"]], [["nobody"], [
        "csv.gz",
        "ndjson",
      ]]] as const
    ) {
      await server.ask("/v1/exports", { method: "POST", body: JSON.stringify({ users: id, formats }) });
    }
    const seen = new Set<string>();
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [320, 1280]) {
        const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
        await page.context().addCookies([{ name: "worker_token", value: token, url: server.url }]);
        const said = complaints(page);
        await page.goto(server.url);
        await page.getByText("Failed").waitFor();
        await page.getByText("The tenant knows no user").waitFor();
        const { scroll, client, back } = await page.evaluate(() => ({
          scroll: document.documentElement.scrollWidth,
          client: document.documentElement.clientWidth,
          back: getComputedStyle(document.body).backgroundColor,
        }));
        expect([width, scroll <= client]).toEqual([width, true]);
        seen.add(`${colorScheme} ${back}`);
        const unnamed = await page.locator("button, input, textarea, a").evaluateAll((controls) =>
          controls.filter((control) =>
            control.checkVisibility() && (control.textContent ?? "") === "" &&
            control.getAttribute("aria-label") === null &&
            ((control as HTMLInputElement).labels?.length ?? 0) === 0
          ).length
        );
        expect(unnamed).toBe(0);
        await page.getByLabel("Only these").check();
        await page.getByLabel("User ids, one a line").fill(" \n");
        await page.getByRole("button", { name: "Start" }).click();
        await page.getByText("Name a user, one a line.").waitFor();
        await picture(page, `${colorScheme}-${width}`);
        expect(said).toEqual([]);
        await page.close();
      }
    }
    expect(seen.size).toBe(2);
  },
);

it.skipIf(!hasChromium).each(runtimes)(
  "the API's page on %s shows it, and runs nothing but its own script",
  async (runtime) => {
    const { env } = await tenant({ users: 1 });
    const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
    const page = await (await open()).newPage();
    const said = complaints(page);
    await page.goto(`${server.url}/docs`);
    await page.getByText("/v1/exports/{id}/resume").waitFor();
    await page.getByText("Sessions of one user, streamed.").waitFor();
    await picture(page, "docs");
    expect(said).toEqual([]);
    await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'taken over'";
      document.body.append(script);
    });
    expect(await page.title()).not.toContain("taken over");
    for (const path of ["/", "/docs", "/openapi.json", "/page.js", "/nowhere", "/v1/exports", "/health"]) {
      const { headers } = await server.ask(path);
      expect([path, headers.get("content-security-policy")]).toEqual([
        path,
        expect.stringMatching(/^default-src 'none';.*frame-ancestors 'none'; base-uri 'none'$/),
      ]);
      expect([path, headers.get("x-frame-options"), headers.get("x-content-type-options")]).toEqual([
        path,
        "DENY",
        "nosniff",
      ]);
      expect([path, headers.get("referrer-policy"), headers.get("cache-control")]).toEqual([
        path,
        "no-referrer",
        expect.stringMatching(/^no-(store|cache)/),
      ]);
      // A link may lead to a page; nothing else is of use to another site.
      const site = { "sec-fetch-site": "cross-site" };
      const isOpen = ["/", "/docs", "/health"].includes(path);
      expect([path, (await server.ask(path, { headers: site })).status]).toEqual([path, isOpen ? 200 : 403]);
    }
  },
);

it.skipIf(!hasChromium)(
  "what others have deleted is shown no more, and what has ended meanwhile is not deleted by Cancel",
  async () => {
    const { env } = await tenant({ users: 3, sessionsPerUser: 5 });
    const server = await serve("Node", { ...env, WORKER_FOLDER: await newFolder(), WORKER_STREAMS: "1" });
    const ids: Array<string> = [];
    for (let count = 0; count < 2; count++) {
      ids.push(await startExport(server, { users: "all", formats: ["csv"] }));
      await ended(server, ids.at(-1)!, "done");
    }
    const page = await (await open()).newPage();
    await page.context().addCookies([{ name: "worker_token", value: token, url: server.url }]);
    // The page is told that the latest still runs.
    let isTold = false;
    await page.route("**/v1/exports?*", async (route) => {
      const list = await (await route.fetch()).json();
      if (!isTold) list[0].status = "running";
      isTold = true;
      await route.fulfill({ json: list });
    });
    await page.route("**/events", (route) => route.abort());
    await page.goto(server.url);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("status").getByText("was expected to be open").waitFor();
    expect((await server.ask(`/v1/exports/${ids[1]}`)).status).toBe(200);
    await until(async () => await page.getByText("Done").count() === 2, "both are shown as done");
    await server.ask(`/v1/exports/${ids[0]}`, { method: "DELETE" });
    await until(async () => await page.locator("#exports > li").count() === 1, "one is shown");
  },
);
