/** A real browser, and what it complains of. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { type Browser, chromium, type Page } from "playwright-core";
import { onTestFinished } from "vitest";
import { chromiumPath } from "../programs.ts";

/** The folder for pictures of the page, for people to look at. */
const pictures = process.env["PICTURES"];

export const open = async (): Promise<Browser> => {
  const browser = await chromium.launch({
    executablePath: chromiumPath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"].concat(
      ["--disable-background-networking", "--disable-component-update", "--disable-sync"],
    ),
  });
  onTestFinished(() => browser.close());
  return browser;
};

/** Complaints of a browser: scripts that fail, what the policy forbids, requests that are not answered well. */
export const complaints = (page: Page): ReadonlyArray<string> => {
  const said: Array<string> = [];
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => message.type() === "error" && said.push(message.text()));
  return said;
};

export const picture = async (page: Page, name: string) => {
  if (pictures === undefined) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
};
